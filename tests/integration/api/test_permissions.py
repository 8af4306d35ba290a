"""Every endpoint against every kind of user: the table of who may do what."""

from urllib.parse import quote

import pytest

from builds.api.site import api
from builds.deletion_models import Deletion
from builds.models import Build, BuildPayload
from builds.plan_models import Plan
from tests.integration.api.conftest import ApiClient, make_token
from tests.support.clusters import beating
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

KINDS = ("stranger", "nobody", "viewer", "operator", "manager")

#                               stranger nobody viewer operator manager
TABLE = {
    ("GET", "/api/job/"): (401, 403, 200, 200, 200),
    ("GET", "/api/job/{job_id}"): (401, 403, 200, 200, 200),
    ("POST", "/api/job/{job_id}/run"): (401, 403, 403, 200, 200),
    ("POST", "/api/job/{job_id}/plan"): (401, 403, 403, 200, 200),
    ("GET", "/api/build/"): (401, 403, 200, 200, 200),
    ("GET", "/api/build/{build_id}"): (401, 403, 200, 200, 200),
    ("GET", "/api/build/{build_id}/log"): (401, 403, 200, 200, 200),
    ("GET", "/api/build/{build_id}/retval"): (401, 403, 200, 200, 200),
    # It has ended: those who may cancel are told so.
    ("POST", "/api/build/{build_id}/cancel"): (401, 403, 403, 409, 409),
    ("PUT", "/api/build/{build_id}/keep"): (401, 403, 403, 200, 200),
    ("DELETE", "/api/build/{build_id}/keep"): (401, 403, 403, 200, 200),
    ("DELETE", "/api/build/{build_id}"): (401, 403, 403, 403, 202),
    ("GET", "/api/deletion/{deletion_id}"): (401, 403, 200, 200, 200),
    ("GET", "/api/workers/"): (401, 403, 200, 200, 200),
    ("POST", "/api/workers/{cluster_id}/drain"): (401, 403, 403, 403, 200),
    ("POST", "/api/workers/{cluster_id}/undrain"): (401, 403, 403, 403, 200),
    ("GET", "/api/plan/{plan_id}"): (401, 403, 200, 200, 200),
    # Nothing of it is left: those who may do it are told so.
    ("POST", "/api/plan/{plan_id}/cancel"): (401, 403, 403, 409, 409),
    ("POST", "/api/plan/{plan_id}/resume"): (401, 403, 403, 409, 409),
}


@pytest.fixture
def records(db):
    use_config("jobs: [{id: echo, function: 'tests.support.odd_jobs:value'}]")
    build = Build.objects.create(job_id="echo", status="SUCCESSFUL")
    BuildPayload.objects.create(build=build, retval_text="7")
    deletion = Deletion.objects.create(build_number=999, job_id="echo")
    plan = Plan.objects.create(job_id="echo")
    return {
        "job_id": "echo",
        "build_id": build.pk,
        "deletion_id": deletion.pk,
        "cluster_id": quote(beating().pk),
        "plan_id": plan.pk,
    }


@pytest.fixture
def who(make_user, request):
    if request.param == "stranger":
        return ApiClient()
    group = None if request.param == "nobody" else request.param
    user = make_user(group=group)
    return ApiClient(user, make_token(user)[1])


def test_the_table_has_every_endpoint():
    described = api.get_openapi_schema()["paths"]
    found = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert found == set(TABLE)


@pytest.mark.parametrize(
    ("who", "column"), [(kind, n) for n, kind in enumerate(KINDS)], indirect=["who"]
)
def test_everybody_may_do_what_the_table_says_and_no_more(who, column, records):
    for (method, path), expected in TABLE.items():
        before = (Build.objects.count(), Deletion.objects.count())
        address = path.format(**records).removeprefix("/api/")
        reply = who.request(method, address)
        assert reply.status_code == expected[column], (method, path, reply.content)
        if reply.status_code >= 400:
            assert (Build.objects.count(), Deletion.objects.count()) == before
            assert set(reply.json()) == {"detail"}


@pytest.mark.parametrize(
    ("permissions", "method", "path", "lacking"),
    [
        (["jobs.view_job"], "GET", "build/1", "see builds"),
        (["builds.view_build"], "GET", "job/echo", "see jobs"),
        (["builds.view_build"], "GET", "job/", "see jobs"),
        (["builds.run_build"], "POST", "job/echo/run", "see jobs"),
        (["jobs.view_job"], "POST", "job/echo/run", "start builds"),
        (["builds.add_build", "jobs.view_job"], "POST", "job/echo/run", "start builds"),
        (["builds.run_build"], "POST", "job/echo/plan", "see jobs"),
        (["jobs.view_job"], "POST", "job/echo/plan", "start builds"),
        (["builds.run_build"], "GET", "plan/1", "see builds"),
        (["builds.run_build"], "POST", "plan/1/cancel", "see builds"),
        (["builds.view_build"], "POST", "plan/1/cancel", "start builds"),
        (["builds.run_build"], "POST", "plan/1/resume", "see builds"),
        (["builds.view_build"], "POST", "plan/1/resume", "start builds"),
        (["builds.delete_build"], "DELETE", "build/1", "see builds"),
        (["builds.view_build"], "GET", "deletion/1", "see deletions"),
        (["builds.view_build"], "DELETE", "build/1", "delete builds"),
    ],
)
def test_each_permission_is_asked_for_and_named(
    caller, records, permissions, method, path, lacking
):
    reply = caller(*permissions).request(method, path)
    assert reply.status_code == 403
    assert reply.json()["detail"] == f"you may not {lacking}."


def test_what_is_not_there_is_told_to_those_only_who_may_see(caller, db):
    someone = caller()
    for path in ("job/nothing", "build/999", "build/999/log", "deletion/999", "plan/999"):
        assert someone.get(path).status_code == 403
