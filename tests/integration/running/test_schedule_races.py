"""Two supervisors at the same moment: each due time makes one build, each newer input one."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import connection

from builds import queue
from builds.models import Build
from builds.rebuilds import Rebuilds
from builds.schedule_models import ScheduledRun
from builds.schedules import Schedules
from tests.support.clocks import Clock
from tests.support.jobs import build, use_config

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

TIMES = int(os.environ.get("JOBCONTROL_RACES", "100")) // 5
F = 'function: "tests.support.odd_jobs:value"'


@pytest.fixture(autouse=True)
def no_wakes(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda *_, **__: True)


def at_once(*acts):
    """Do all of them at the same moment, each with a connection of its own."""
    barrier = threading.Barrier(len(acts))
    errors = []

    def run(act):
        try:
            barrier.wait(60)
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_two_supervisors_start_each_time_once_and_never_overlap(monkeypatch):
    clock = Clock(monkeypatch)
    use_config(
        f"jobs:\n  - {{id: job, {F}, schedule: [every 10m, every 5m]}}\n"
        f"  - {{id: free, {F}, schedule: {{every: 5m, overlap: allow}}}}\n"
    )
    supervisors = [Schedules(), Schedules()]
    at_once(*(one.step for one in supervisors))
    for number in range(1, TIMES + 1):
        clock.set("2026-11-24 12:00:00")
        clock.now += number * (5 * clock.minute)
        at_once(*(one.step for one in supervisors))
        for one in supervisors:  # what the one left because the other had the job
            one.step()
        assert Build.objects.filter(job="job").queued().count() == 1
        assert Build.objects.filter(job="free").count() == number
        Build.objects.filter(job="job").update(status="SUCCESSFUL")
    started = ScheduledRun.objects.filter(state="STARTED")
    assert started.filter(job="free").count() == TIMES
    assert ScheduledRun.objects.filter(state="PLANNED").count() == 3
    decided = ScheduledRun.objects.filter(job="job").exclude(state="PLANNED")
    assert {run.state for run in decided} == {"STARTED", "SKIPPED"}
    assert decided.count() == TIMES + TIMES // 2


def test_two_supervisors_make_one_rebuild():
    use_config(f"jobs:\n  - {{id: a, {F}}}\n  - {{id: b, {F}, dependencies: [a], rebuild: auto}}\n")
    for number in range(1, TIMES + 1):
        newest = build("a")
        supervisors = [Rebuilds(), Rebuilds()]
        at_once(*(one.step for one in supervisors))
        made = Build.objects.filter(job="b")
        assert made.count() == number
        assert made.first().inputs.get().dep_build_number == newest.pk
        made.update(status="SUCCESSFUL")
