"""Rows of open pages that are beyond what is looked at first: all that is shown is in the stamp."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds import context_processors, queue, services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from builds.schedule_models import ScheduledRun
from jobs.models import Job
from tests.integration.admin.test_live import first_load, refresh
from tests.support.clusters import beating
from tests.support.jobs import use_config
from tests.support.pages import page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

INPUTS = ["a", "b", "c", "d", "e"]
CONFIG = f"""
jobs:
  - {{id: first, function: "tests.support.odd_jobs:value", schedule: every 1h}}
  - {{id: last, function: "tests.support.odd_jobs:value", dependencies: [first]}}
  - {{id: end, function: "tests.support.odd_jobs:value", dependencies: [last]}}
  - {{id: many, function: "tests.support.odd_jobs:value", dependencies: {INPUTS}}}
"""
CONFIG += "".join(
    f'  - {{id: {one}, function: "tests.support.odd_jobs:value"}}\n' for one in INPUTS
)
FILTERED = "?status=FAILED"


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": True)
    use_config(CONFIG)
    context_processors.forget()
    yield
    context_processors.forget()


def plan_of(job: str) -> dict[str, Build]:
    """Ask for a job and all that it needs; return the builds by job."""
    options = Options(dependencies=Dependencies.ALL)
    made = services.request_build(job=Job.objects.get(pk=job), trigger="cli", options=options)
    return {build.job_id: build for build in made.plan.builds.all()}


@pytest.mark.parametrize("query", ["?page=3", FILTERED])
def test_a_job_s_page_follows_the_builds_that_it_lists(staff, query):
    reader = staff("jobs.view_job", "builds.view_build")
    now = timezone.now()
    Build.objects.bulk_create(
        Build(
            id=n,
            job_id="first",
            status="FAILED" if n == 5 else "SUCCESSFUL",
            start_time=now,
            end_time=now,
        )
        for n in range(1, 76)
    )
    address = reverse("admin:jobs_job_change", args=["first"]) + query
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    row = page_of(Build(pk=5))
    assert row in refresh(reader, address, "old").text
    Build.objects.filter(pk=5).delete()
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert row not in answer.text


def test_who_sees_no_builds_is_not_told_that_one_changed(staff):
    reader = staff("jobs.view_job")
    now = timezone.now()
    Build.objects.bulk_create(
        Build(id=n, job_id="first", status="SUCCESSFUL", start_time=now, end_time=now)
        for n in range(1, 76)
    )
    address = reverse("admin:jobs_job_change", args=["first"]) + "?page=3"
    stamp = first_load(reader, address)
    Build.objects.filter(pk=5).delete()
    assert refresh(reader, address, stamp).status_code == 204


@pytest.mark.parametrize("query", ["", "?page=2"])
def test_a_job_with_everything_costs_no_more(staff, query):
    """It has a schedule, neighbours, many builds, and some that wait for all that there is."""
    use_config(CONFIG.replace("id: last,", "id: last, schedule: every 1h, concurrency: 2,"))
    beating("host", workers=2)
    reader = staff()
    everything = Group.objects.create(name="everything")
    everything.permissions.set(Permission.objects.all())
    reader.user.groups.add(everything)
    plan_of("last")
    Build.objects.bulk_create(
        Build(job_id="last", status=status) for status in ["SUCCESSFUL"] * 70 + ["FAILED", "QUEUED"]
    )
    Build.objects.create(job_id="last", status="RUNNING", start_time=timezone.now())
    address = reverse("admin:jobs_job_change", args=["last"]) + query
    stamp = first_load(reader, address)
    for asks, status in (
        (lambda: reader.get(address), 200),
        (lambda: refresh(reader, address, "old"), 200),
        (lambda: refresh(reader, address, stamp), 204),
    ):
        context_processors.forget()
        with CaptureQueriesContext(connection) as asked:
            assert asks().status_code == status
        assert len(asked) <= 15, [one["sql"][:90] for one in asked]


@pytest.mark.parametrize("cancelled", ["last", "end"])
@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_a_build_s_page_follows_what_waits_for_it(viewer, status, cancelled):
    builds = plan_of("end")
    begun = {"status": status, "start_time": timezone.now() if status == "RUNNING" else None}
    Build.objects.filter(pk=builds["first"].pk).update(**begun)
    address = page_of(builds["first"])
    stamp = first_load(viewer, address)
    assert refresh(viewer, address, stamp).status_code == 204
    services.cancel_build(build=builds[cancelled])
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert ("Waiting for it" in text(answer)) == (cancelled == "end")


def test_the_page_of_a_waiting_build_follows_each_of_its_inputs(viewer):
    builds = plan_of("many")
    address = page_of(builds["many"])
    stamp = first_load(viewer, address)
    assert refresh(viewer, address, stamp).status_code == 204
    last = max(builds[name].pk for name in INPUTS)
    Build.objects.filter(pk=last).update(status="RUNNING", start_time=timezone.now())
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert "(running)" in text(answer)


def run_at(hours: int) -> ScheduledRun:
    entry = Job.objects.get(pk="first").schedules[0]["key"]
    due = timezone.now() - timedelta(hours=hours)
    return ScheduledRun.objects.create(job_id="first", entry=entry, due=due, state="WAITING")


@pytest.mark.parametrize("age", range(1, 6))
def test_a_job_s_page_follows_all_its_last_times(viewer, age):
    runs = {hours: run_at(hours) for hours in range(1, 7)}
    address = reverse("admin:jobs_job_change", args=["first"])
    stamp = first_load(viewer, address)
    ScheduledRun.objects.filter(pk=runs[6].pk).update(state="MISSED")
    assert refresh(viewer, address, stamp).status_code == 204
    ScheduledRun.objects.filter(pk=runs[age].pk).update(state="MISSED", reason="out of ink")
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert "out of ink" in text(answer)


NAMES = {
    "builds_plan": ("id: first", "id: first, title: A name", "A name"),
    "builds_deletion": ("id: first", "id: first, title: A name", "A name"),
    "builds_scheduledrun": ("schedule: every 1h", "schedule: []", "<code>every"),
}


@pytest.mark.parametrize("name", NAMES)
def test_lists_follow_names_that_the_file_gives(staff, monkeypatch, name):
    now = timezone.now().replace(second=30)
    monkeypatch.setattr(timezone, "now", lambda: now)
    reader = staff("jobs.view_job", f"builds.view_{name.removeprefix('builds_')}")
    Plan.objects.create(job_id="first")
    Deletion.objects.create(job_id="first", build_number=10**6)
    run_at(1)
    old, new, shown = NAMES[name]
    address = reverse(f"admin:{name}_changelist")
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    before = shown in refresh(reader, address, "old").text
    use_config(CONFIG.replace(old, new))
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert (shown in answer.text) != before
