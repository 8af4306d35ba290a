"""`build_job()` and `create_build()` with what a job needs and what uses it, from Python."""

from contextlib import nullcontext

import pytest
from django.db import connection, transaction

from builds import services
from builds.models import Build
from builds.plan_models import Plan
from builds.recorder import recorder
from builds.workers import WorkerIdentity
from jobcontrol.core import JobControl
from jobcontrol.exceptions import InvalidRequest, LimitReached, MissingDependencies, ProtectedJob
from jobcontrol.globals import current_app
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

VALUE = "tests.support.odd_jobs:value"
CONFIG = f"""
jobs:
  - {{id: 1, function: "{VALUE}", args: [1]}}
  - {{id: crawl, function: "{VALUE}", args: [!retval 1]}}
  - {{id: site, function: "{VALUE}", args: [!retval crawl]}}
  - {{id: nesting, function: "tests.integration.running.test_python_plans:build_site"}}
"""


@pytest.fixture(autouse=True)
def jobs():
    use_config(CONFIG)


def build_site(**options):
    """Builds `site` with what it needs; in a transaction, where others may write meanwhile."""
    alone = connection.vendor == "sqlite"
    with nullcontext() if alone else transaction.atomic():
        made = current_app.build_job("site", dependencies="missing", **options)
    return made.retval


def statuses():
    return {one.job_id: one.status for one in Build.objects.order_by("pk")}


def test_what_is_needed_and_what_uses_it_are_built_with_it():
    app = JobControl()
    made = app.build_job("crawl", dependencies="missing", rebuild_reverse_dependencies=True)
    assert (made.job_id, made.retval) == ("crawl", 1)
    assert statuses() == dict.fromkeys(("1", "crawl", "site"), "SUCCESSFUL")
    assert made.model.plan == Plan.objects.get()
    assert made.model.trigger == "python"
    assert app.get_job(1).run(rebuild_reverse_dependencies=["crawl"]).job_id == "1"
    assert Build.objects.filter(job_id="site").count() == 1
    assert app.build_job("site", dependencies="missing").model.plan is None


@pytest.mark.parametrize(
    "wish",
    [
        {"rebuild_reverse_dependencies": "site"},
        {"rebuild_reverse_dependencies": None},
        {"rebuild_reverse_dependencies": 1},
        {"dependency_builds": [("1", "latest")]},
        {"dependencies": ["all"]},
        {"dependencies": None},
    ],
)
def test_what_is_of_another_kind_is_refused_and_named(wish):
    (name,) = wish
    with pytest.raises(InvalidRequest, match=f"{name} must "):
        JobControl().build_job("crawl", **wish)
    assert not Build.objects.exists()


def test_the_manual_s_none_means_a_new_build_of_the_dependency():
    app = JobControl()
    old = app.build_job(1)
    app.build_job(1)
    first = app.build_job("crawl", dependency_builds={1: old.id})
    assert first.model.inputs.get().dep_build_id == old.id
    assert (
        app.build_job("crawl", dependency_builds={1: old}).model.inputs.get().dep_build_id == old.id
    )
    for new in (None, "now"):
        before = Build.objects.filter(job_id="1").count()
        made = app.build_job("crawl", dependency_builds={"1": new})
        assert Build.objects.filter(job_id="1").count() == before + 1
        assert made.model.inputs.get().dep_build == Build.objects.filter(job_id="1").first()
    created = app.get_job("crawl").create_build(dependency_builds={1: old})
    assert created.model.inputs.get().dep_build_id == old.id
    newest = app.create_build("crawl", dependency_builds={1: "latest"})
    assert newest.model.inputs.get().dep_build == Build.objects.filter(job_id="1").first()


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (
            {"dependencies": "some"},
            InvalidRequest,
            "dependencies must be none, missing, outdated, all",
        ),
        (
            {"dependency_builds": {1: 5}},
            InvalidRequest,
            "build #5 is not a successful build of '1'",
        ),
        ({"dependency_builds": {1: "latest"}}, MissingDependencies, "'1'"),
        ({"dependency_builds": {"site": None}}, InvalidRequest, "does not depend on 'site'"),
        ({"dependency_builds": {1: True, "x": []}}, InvalidRequest, "dependency_builds\\['x'\\]"),
        ({"rebuild_reverse_dependencies": [1]}, InvalidRequest, "is not used by '1'"),
        ({}, MissingDependencies, "'1'"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_recorded(options, kind, text):
    with pytest.raises(kind, match=text):
        JobControl().build_job("crawl", **options)
    assert not Build.objects.exists()


def test_create_build_makes_one_build_only():
    build("1")
    with pytest.raises(InvalidRequest, match="use build_job"):
        JobControl().create_build("crawl", dependency_builds={1: None})


def test_all_that_is_protected_is_named_and_armed():
    use_config(CONFIG.replace("id: 1,", "id: 1, protect: true,"))
    with pytest.raises(ProtectedJob, match="'1'"):
        JobControl().build_job("crawl", dependencies="all")
    assert not Build.objects.exists()
    assert JobControl().build_job("crawl", dependencies="all", arm=True).retval == 1


def test_a_plan_within_a_job_is_nested_and_seen_in_spite_of_its_transaction():
    made = build("nesting")
    assert made.status == "SUCCESSFUL", made.exception_message
    assert statuses()["site"] == "SUCCESSFUL"
    assert Build.objects.get(job_id="site").trigger == "nested"


def test_a_plan_does_not_wait_for_a_limit_but_says_so_and_leaves_nothing():
    use_config(CONFIG.replace("id: crawl,", "id: crawl, concurrency: 1,"))
    here = str(WorkerIdentity.current())
    Build.objects.create(job_id="crawl", status="RUNNING", worker=here)
    with pytest.raises(LimitReached, match="'crawl'"):
        JobControl().build_job("site", dependencies="all")
    assert statuses() == {"1": "SUCCESSFUL", "crawl": "CANCELLED", "site": "CANCELLED"}


def test_a_job_that_is_cancelled_within_its_plan_leaves_nothing_behind():
    text = "tests.integration.running.test_python_plans:cancel_all"
    use_config(CONFIG.replace(f'id: crawl, function: "{VALUE}"', f'id: crawl, function: "{text}"'))
    made = build("nesting")
    assert made.status == "CANCELLED"
    assert statuses() == {
        "nesting": "CANCELLED",
        "1": "SUCCESSFUL",
        "crawl": "CANCELLED",
        "site": "CANCELLED",
    }


def cancel_all(_value):
    """Cancels the outermost build, and waits for it to be told."""
    import threading

    outer = Build.objects.get(job_id="nesting")
    # Not in the transaction that is open around this.
    recorder().call(lambda: services.cancel_build(build=outer))
    for _ in range(600):
        threading.Event().wait(0.1)
    raise AssertionError("it was not told")
