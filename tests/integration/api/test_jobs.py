"""`/api/job/`: what there is and where it stands."""

import json
from urllib.parse import quote

import pytest

from builds.api import schemas
from builds.deletion_models import Deletion
from builds.models import Build
from tests.support.commands import run_json
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

CONFIG = """
secret: {password: hunter2hunter2}
jobs:
  - id: first
    title: "The first"
    function: tests.support.odd_jobs:value
    tags: [daily, web]
    kwargs: {password: !secret password, day: 2026-01-31}
  - id: second
    function: tests.support.odd_jobs:value
    args: [!retval first]
    tags: [daily]
  - id: third
    function: tests.support.odd_jobs:value
    dependencies: [first]
    protect: true
"""

ODD_IDS = [
    "a/b",
    "a/b/run",
    "run",
    "x/run/run",
    "/starts/and/ends/",
    'it\'s "quoted"',
    "<b>&amp;</b>",
    "ключ 🗝 مفتاح",
    "100%",
    "a%2Fb",
    "what?#here",
    "a+b c",
    "..;a",
    "l" * 200,
]


@pytest.fixture
def jobs():
    use_config(CONFIG)


def ids(reply):
    assert reply.status_code == 200, reply.content
    return [row["id"] for row in reply.json()]


def succeeded(job_id, **fields):
    return Build.objects.create(job_id=job_id, status="SUCCESSFUL", **fields)


def test_the_list_has_what_the_originals_had_and_what_the_command_has(jobs, viewer):
    """original #32: GET job/ was a list of {id, title, dependencies, link}"""
    reply = viewer.get("job/")
    first, second, third = reply.json()
    assert (second["id"], second["dependencies"]) == ("second", ["first"])
    assert (first["title"], third["protected"]) == ("The first", True)
    assert first["link"] == "http://testserver/api/job/first"
    without_links = [{k: v for k, v in row.items() if k != "link"} for row in reply.json()]
    assert without_links == run_json("list_jobs")
    assert viewer.get("job").json() == reply.json()


def test_tags_are_shown_and_several_mean_all_of_them(jobs, viewer):
    """original #18: ?tag=a&tag=b means both, in the API too"""
    assert viewer.get("job/").json()[0]["tags"] == ["daily", "web"]
    assert ids(viewer.get("job/?tag=daily")) == ["first", "second"]
    assert ids(viewer.get("job/?tag=daily&tag=web")) == ["first"]
    assert ids(viewer.get("job/?tag=web&tag=none")) == []
    assert ids(viewer.get("job/?tag=DAILY")) == []


@pytest.mark.parametrize("tag", ["", "%00", "daily%0A%0Aweb", "%", "_", "%F0%9F%97%9D", "%FF"])
def test_a_tag_that_no_job_can_have_finds_nothing(jobs, viewer, tag):
    assert ids(viewer.get(f"job/?tag={tag}")) == []


def test_pages_lead_to_each_other(jobs, viewer):
    reply = viewer.get("job/?limit=2")
    assert ids(reply) == ["first", "second"]
    assert reply["Link"] == '<http://testserver/api/job/?limit=2&offset=2>; rel="next"'
    reply = viewer.get("job/?limit=2&offset=2")
    assert ids(reply) == ["third"]
    assert "Link" not in reply
    assert "Link" not in viewer.get("job/?limit=3")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "offset=-1", "offset=99999999999999999999"]
    + ["&".join(["tag=x"] * 21), f"tag={'x' * 201}"],
)
def test_a_list_is_asked_for_within_bounds(jobs, viewer, query):
    reply = viewer.get(f"job/?{query}")
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("query.")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("job/?tags=daily", "query.tags: there is no such parameter; did you mean 'tag'?"),
        (
            "job/?tag=daily&xyz=1",
            "query.xyz: there is no such parameter; there are tag, limit, offset.",
        ),
        ("job/first?x=1", "query.x: there is no such parameter; this address takes none."),
        ("build/?stats=FAILED", "query.stats: there is no such parameter; did you mean 'status'?"),
        ("build/?%00=&<b>=", "query.\x00: "),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused_by_its_name(jobs, viewer, path, hint):
    reply = viewer.get(path)
    assert reply.status_code == 422
    assert hint in reply.json()["detail"]


def test_a_mistyped_parameter_neither_starts_nor_deletes_anything(jobs, manager):
    made = succeeded("first")
    for method, path in (
        ("POST", "job/first/run?arm=true"),
        ("DELETE", f"build/{made.pk}?cleenup=0"),
    ):
        reply = manager.request(method, path)
        assert reply.status_code == 422
        assert reply.json()["detail"].startswith("query.")
    assert not Deletion.objects.exists()
    assert Build.objects.get() == made


def test_a_job_has_what_the_command_shows(jobs, viewer):
    """original #32: GET job/<id>"""
    build = succeeded("first")
    shown = viewer.get("job/first").json()
    assert shown.pop("link") == "http://testserver/api/job/first"
    assert shown == run_json("show_job", "first")
    assert shown["reverse_dependencies"] == ["second", "third"]
    assert shown["latest_successful_build"]["id"] == build.pk
    assert shown["kwargs"]["day"] == {"!date": "2026-01-31"}


def test_a_job_s_secrets_are_not_shown(jobs, viewer):
    shown = viewer.get("job/first")
    assert shown.json()["kwargs"]["password"] == {"!secret": "password", "form": "raw"}
    assert b"hunter2" not in shown.content


def test_who_may_not_see_builds_does_not_see_them_by_their_job(jobs, caller):
    succeeded("first")
    assert caller("jobs.view_job").get("job/first").json()["latest_successful_build"] is None


def test_a_retired_job_can_still_be_looked_at_but_is_not_listed(jobs, viewer):
    use_config(CONFIG.replace("id: third", "id: fourth"))
    assert ids(viewer.get("job/")) == ["first", "second", "fourth"]
    assert viewer.get("job/third").json()["id"] == "third"


@pytest.mark.parametrize("job_id", ODD_IDS)
def test_any_id_is_found_by_its_link_and_can_be_run(operator, job_id):
    entry = {"id": job_id, "function": "tests.support.odd_jobs:value"}
    use_config(json.dumps({"jobs": [entry, {**entry, "id": "a/b/c"}]}, ensure_ascii=False))
    row = operator.get("job/").json()[0]
    assert row["id"] == job_id
    path = row["link"].removeprefix("http://testserver/api/")
    assert operator.get(path).json()["id"] == job_id
    assert operator.get(f"job/{quote(job_id, safe='')}").json()["id"] == job_id
    build = Build.objects.get(pk=operator.run(job_id).json()["build_id"])
    assert build.job_id == job_id
    assert operator.get(f"build/?job={quote(job_id, safe='')}").json()[0]["job_id"] == job_id


@pytest.mark.parametrize("job_id", ["frist", "nothing-like-it", "%00", "x" * 5000, "%ED%A0%80"])
def test_a_job_that_is_not_there_is_said_to_be_not_there(jobs, operator, job_id):
    """original #32: errors were HTML"""
    for reply in (
        operator.get(f"job/{job_id}"),
        operator.request("POST", f"job/{job_id}/run"),
        operator.get(f"build/?job={job_id}"),
    ):
        assert reply.status_code == 404
        assert reply["Content-Type"] == "application/json"
        detail = reply.json()["detail"]
        assert detail.startswith("there is no job ")
        hint = "did you mean 'first'?" if job_id == "frist" else "GET /api/job/ lists what there is"
        assert hint in detail


def test_queries_do_not_grow_with_the_jobs(viewer, django_assert_max_num_queries):
    many = [{"id": f"job{n}", "function": "tests.support.odd_jobs:value"} for n in range(300)]
    use_config(json.dumps({"jobs": many}))
    with django_assert_max_num_queries(20):
        assert len(ids(viewer.get("job/"))) == 300


def test_the_declared_names_are_those_of_the_replies(jobs, viewer):
    succeeded("first")
    assert set(viewer.get("job/").json()[0]) == set(schemas.Job.model_fields)
    shown = viewer.get("job/first").json()
    assert set(shown) == set(schemas.JobDetail.model_fields)
    build = shown["latest_successful_build"]
    assert set(build) == set(schemas.Build.model_fields)
    assert set(build["progress"]) == set(schemas.Progress.model_fields)
