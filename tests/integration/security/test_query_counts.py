"""At 1,000 jobs and 100,000 builds each page keeps to 15 queries."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from builds import context_processors, services, standing
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun
from builds.token_models import ApiToken
from jobs import config, registry
from jobs.models import Job
from tests.integration.security.pages import ADDRESSES, ANSWERS, samples
from tests.support.clusters import beating, main_of, worker_of
from tests.support.many import copies

# Each test in a transaction; what they look at is made outside of them, once.
pytestmark = pytest.mark.django_db

JOBS = 1_000
BUILDS = 100_000
PLANS = 300
LIMIT = 15
LIVE = [
    "/admin/",
    *(f"/admin/builds/build/{{{name}}}/change/" for name in ("build", "running", "waiting")),
    "/admin/jobs/job/{job}/change/",
    "/admin/builds/plan/{plan}/change/",
    "/admin/jobs/job/",
    "/admin/jobs/job/grid/",
    "/admin/jobs/job/{job}/graph/",
    "/admin/builds/build/",
    "/admin/builds/plan/",
    "/admin/builds/cluster/",
    "/admin/builds/apitoken/",
    "/admin/jobs/configrevision/",
]
GRID_LIMIT = 10
PROTECTED = range(12, JOBS, 30)  # each with a successful build of what it needs


@pytest.fixture(scope="module")
def root(django_db_setup, django_db_blocker):
    """Somebody who may do everything and is no superuser: permissions are one question more.

    Of a large site, made once for this module.
    """
    # SQLite's check of every row, after each of these tests which change none, is the most that
    # they cost. Once is enough.
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        _fill()
        connection.check_constraints()
        patch.setattr(TestCase, "_should_check_constraints", lambda *_: False)
        # What is remembered for so long is asked for in each of these tests: `asked` forgets it.
        context_processors.forget()
        patch.setattr(context_processors, "REMEMBERED_SECONDS", 3_600)
        # Where no cluster lives, less is asked.
        patch.setattr(services, "silence_allowed", lambda: 3_600.0)
        browser = Client()
        browser.force_login(_permitted())
        yield browser
        context_processors.forget()
        call_command("flush", interactive=False, verbosity=0)


def _permitted():
    """Return a user with all permissions: some of their own, the others those of a group."""
    user = User.objects.create_user("root-of-many", is_staff=True)
    permissions = Permission.objects.all()
    user.user_permissions.set(permissions.filter(codename__startswith="view_"))
    group = Group.objects.create(name="all but viewing")
    group.permissions.set(permissions.exclude(codename__startswith="view_"))
    user.groups.add(group)
    return user


def _fill():
    jobs = [
        {
            "id": f"job-{n}",
            "title": f"The job number {n}",
            "tags": [f"tag-{n % 20}"],
            "function": "tests.support.odd_jobs:value",
            "dependencies": [f"job-{n // 3}"] if n % 100 else [],
            "protect": n in PROTECTED,
            "schedule": ["every 1h", "0 3 * * *"] if n % 2 else [],
        }
        for n in range(JOBS)
    ]
    configuration = config.load_object({"jobs": jobs})
    registry.use(configuration)
    registry.sync(configuration, check_functions=False)
    now = timezone.now()
    one = Build.objects.create(
        id=1, job_id="job-1", status="SUCCESSFUL", start_time=now, end_time=now
    )
    copies(
        one,
        range(2, BUILDS + 1),
        id="n",
        job_id=f"'job-' || CAST(n % {JOBS} AS text)",
        status="CASE n % 10 WHEN 7 THEN 'FAILED' WHEN 8 THEN 'SKIPPED' WHEN 9 THEN 'CANCELLED' "
        "WHEN 0 THEN 'QUEUED' ELSE 'SUCCESSFUL' END",
        exception_type="CASE n % 10 WHEN 7 THEN 'ValueError' ELSE '' END",
    )
    oldest = BUILDS - 3 * JOBS
    newest = range(oldest + 1, BUILDS + 1)
    payload = BuildPayload.objects.create(build_id=oldest, retval_text="1")
    copies(payload, newest, build_id="n")
    dependency = BuildDependency.objects.create(
        build_id=oldest + 1, job_id="job-0", dep_build_id=oldest, dep_build_number=oldest
    )
    used = f"n - n % {JOBS} + n % {JOBS} / 3"
    copies(
        dependency,
        newest[1:],
        where=f"n % {JOBS} % 100 > 0",
        build_id="n",
        job_id=f"'job-' || CAST(n % {JOBS} / 3 AS text)",
        dep_build_id=used,
        dep_build_number=used,
    )
    line = LogMessage.objects.create(
        build_id=BUILDS, created=now, level=20, logger="x", message="line 0"
    )
    copies(line, range(1, 5_000), message="'line ' || CAST(n AS text)")
    for number in (BUILDS, 100, 200):  # the last two run
        BuildProgress.objects.bulk_create(_progress(number))
    for n in range(200):
        beating(f"host-{n}", workers=8)
        Build.objects.filter(pk=n + 1).update(
            status="RUNNING", worker=str(worker_of(main_of(f"host-{n}")))
        )
    ScheduledRun.objects.bulk_create(
        ScheduledRun(
            id=n + 1,
            job_id=f"job-{n % JOBS // 50 * 10}",
            entry="x",
            due=now - timedelta(minutes=n),
            state="STARTED" if n % 3 else "MISSED",
            build_id=n + 1 if n % 3 else None,
        )
        for n in range(5_000)
    )
    ScheduledRun.objects.bulk_create(
        ScheduledRun(id=10_000 + n, job_id=f"job-{n}", entry="x", due=now + timedelta(seconds=n))
        for n in range(1, JOBS, 2)
    )
    _fill_plans()
    Deletion.objects.bulk_create(
        Deletion(id=n + 1, job_id=f"job-{n % JOBS}", build_number=10**6 + n) for n in range(1_000)
    )

    Group.objects.create(name="a group")
    owner = User.objects.create_user("owner")
    ApiToken.objects.create(name="a", user=owner, expires=now + timedelta(days=1), digest="x")


def _fill_plans():
    """One of nearly all jobs, half-way, and many of one build each."""
    Plan.objects.bulk_create(Plan(id=n, job_id="job-0") for n in range(1, PLANS + 1))
    Build.objects.filter(id__gt=BUILDS - JOBS, id__lte=BUILDS).update(plan=PLANS)
    Build.objects.filter(id__gt=BUILDS - 50, id__lt=BUILDS - 10).update(status="WAITING")
    Build.objects.filter(id__lt=PLANS).update(plan=F("id"))


def _progress(number):
    for n in range(300):
        yield BuildProgress(
            build_id=number,
            group_name=f'["group {n % 10}", "part {n}"]',
            group_digest=f"{n:064}",
            current=n,
            total=300,
            position=n,
            updated=timezone.now(),
        )


@pytest.fixture(scope="module")
def values(root, django_db_blocker):
    """What the addresses name, of this site."""
    with django_db_blocker.unblock():
        return samples()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_of_a_large_site_asks_few_questions(root, values, address):
    asked(root, address.format(**values))


@pytest.mark.parametrize("address", LIVE)
@pytest.mark.parametrize("stamp", ["", "its own"])
def test_a_refresh_of_an_open_page_asks_no_more(root, values, address, stamp):
    address = f"{address.format(**values)}?live="
    known = root.get(address).headers["X-Live-Stamp"] if stamp else ""
    asked(root, f"{address}{known}")


def asked(root, address):
    """Ask for a page and count its queries, those too that a process makes every few seconds."""
    context_processors.forget()
    with CaptureQueriesContext(connection) as queries:
        response = root.get(address)
        if getattr(response, "streaming", False):
            b"".join(response.streaming_content)
    assert response.status_code in ANSWERS, address
    check(queries)


def check(queries, limit=LIMIT):
    texts = "\n".join(query["sql"][:200] for query in queries)
    assert len(queries) <= limit, f"{len(queries)} queries:\n{texts}"


def test_the_dashboard_with_everything_on_it_asks_hardly_more(root):
    context_processors.forget()
    standing.forget()
    with CaptureQueriesContext(connection) as queries:
        page = root.get("/admin/").context
    shown = [page[name]["lines"] for name in ("running", "queue", "failures", "schedule")]
    shown += [page["standing"].outdated, page["workers"]["crews"], page["schedule"]["not_started"]]
    assert all(shown)
    assert {line.build.status for line in page["queue"]["lines"]} == {"QUEUED", "WAITING"}
    assert page["running"]["lines"][0].bar
    check(queries)


@pytest.mark.parametrize("runs", [True, False])
def test_a_refresh_of_the_dashboard_asks_no_more(root, runs):
    for module in (context_processors, standing):
        module.forget()
    if not runs:
        Build.objects.running().update(status="CANCELLED")
    with CaptureQueriesContext(connection) as queries:
        assert root.get("/admin/?live=old").status_code == 200
    check(queries)


def test_a_refresh_of_the_dashboard_without_news_asks_hardly_anything(root, monkeypatch):
    now = timezone.now().replace(second=30)
    monkeypatch.setattr(timezone, "now", lambda: now)
    Build.objects.running().update(status="CANCELLED")
    stamp = root.get("/admin/?live=").headers["X-Live-Stamp"]
    for module in (context_processors, standing):
        module.forget()
    with CaptureQueriesContext(connection) as queries:
        assert root.get(f"/admin/?live={stamp}").status_code == 204
    check(queries, 9)


def test_a_refresh_of_the_grid_without_news_asks_still_fewer(root):
    stamp = root.get("/admin/jobs/job/grid/?live=").headers["X-Live-Stamp"]
    with CaptureQueriesContext(connection) as queries:
        assert root.get(f"/admin/jobs/job/grid/?live={stamp}").status_code == 204
    check(queries, GRID_LIMIT)


def test_the_question_before_very_many_deletions_asks_few_questions(root):
    chosen = {"action": "delete_selected", "_selected_action": BUILDS, "select_across": "1"}
    with CaptureQueriesContext(connection) as queries:
        response = root.post("/admin/builds/build/", chosen)
    assert response.context["count"] == BUILDS
    # What is chosen is stored, some thousands of numbers at a time.
    stored = [query for query in queries if query["sql"].startswith("INSERT")]
    assert 0 < len(stored) <= BUILDS / 5_000
    check([query for query in queries if query["sql"].startswith("SELECT")])


@pytest.mark.parametrize("step", ["", "arm"])
def test_the_page_that_arms_many_jobs_asks_few_questions(root, step):
    chosen = {"job": [f"job-{n}" for n in PROTECTED], "step": step}
    with CaptureQueriesContext(connection) as queries:
        response = root.post("/admin/jobs/job/arm/", chosen)
    assert len(response.context["previews"]) == len(PROTECTED) > LIMIT
    check(queries)


def test_the_site_is_as_large_as_it_says(root):
    assert (Job.objects.active().count(), Build.objects.count()) == (JOBS, BUILDS)
    assert Job.objects.active().exclude(dependency_links=None).count() > JOBS * 0.9
