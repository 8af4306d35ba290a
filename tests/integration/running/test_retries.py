"""Trying again what failed: as a new build, when and as often as the job's `retries` say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now

from builds import calling, runner, services
from builds.models import Build, BuildPayload
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

FAIL = "function: 'tests.support.endless_jobs:fail'"
CONFIG = f"""
jobs:
  - {{id: input, function: "tests.support.odd_jobs:value", args: [7]}}
  - {{id: twice, {FAIL}, retries: 2, priority: 4, timeout: 60}}
  - {{id: later, {FAIL}, retries: {{count: 3, delay: 100, backoff: 3}}}}
  - {{id: lost, {FAIL}, retries: {{count: 1, on: [worker_lost]}}}}
  - {{id: armed, {FAIL}, retries: 1, protected: true}}
  - {{id: uses, {FAIL}, args: [!retval input], retries: 1}}
  - {{id: takes, function: "tests.support.odd_jobs:value", args: [!retval input]}}
  - {{id: skips, function: "tests.support.odd_jobs:skip", retries: 1}}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def run(name: str, **wish) -> Build:
    """Ask for a build and run it as a worker does."""
    made = services.request_build(job=Job.objects.get(pk=name), trigger="quick", **wish)
    runner.run_next()
    made.refresh_from_db()
    return made


def attempts(name: str) -> list[Build]:
    return list(Build.objects.filter(job_id=name).order_by("pk"))


def test_a_failed_build_is_tried_again_as_often_as_its_job_says():
    user = get_user_model().objects.create_user("operator")
    first = run("twice", requested_by=user)
    assert [one.status for one in attempts("twice")] == ["FAILED", "QUEUED"]
    while runner.run_next():
        pass
    every = attempts("twice")
    assert [one.status for one in every] == ["FAILED"] * 3
    assert [one.attempt for one in every] == [1, 2, 3]
    assert [one.retry_of_id for one in every] == [None, first.pk, first.pk]
    assert {one.trigger for one in every[1:]} == {"retry"}
    assert {one.requested_by for one in every} == {user}
    assert {(one.priority, one.timeout) for one in every} == {(4, timedelta(seconds=60))}
    assert messages(first)[-1] == (f"It is tried again, as build #{every[1].pk}: attempt 2 of 3.")
    assert "tried again" not in messages(every[2])[-1]


def test_a_retry_runs_with_the_configuration_and_the_inputs_of_the_first_attempt():
    used = build("input")
    first = run("uses")
    build("input")
    use_config(CONFIG.replace("[!retval input]", "[1, 2, 3]"))
    (_, again) = attempts("uses")
    assert again.payload.config == first.payload.config
    assert again.payload.config_text == first.payload.config_text
    assert [(one.job_id, one.dep_build_id) for one in again.inputs.all()] == [("input", used.pk)]


def test_delays_grow_and_stand_in_the_database():
    run("later")
    for retry, delay in ((2, 100), (3, 300), (4, 900)):
        again = attempts("later")[-1]
        assert again.attempt == retry
        wait = again.not_before - Build.objects.annotate(now=Now()).get(pk=again.pk).now
        assert delay - 60 < wait.total_seconds() <= delay
        assert runner.run_next() is None, "not before its time"
        Build.objects.filter(pk=again.pk).update(not_before=Now())
        assert runner.run_next() is not None
    assert len(attempts("later")) == 4
    assert messages(attempts("later")[0])[-1].startswith("It is tried again in 100s, as build #")


def test_only_the_named_kinds_of_failure_are_tried_again():
    run("lost")
    assert len(attempts("lost")) == 1


def test_a_lost_worker_is_tried_again():
    services.request_build(job=Job.objects.get(pk="lost"), trigger="quick")
    gone = services.claim(worker=WorkerIdentity.current())
    me = WorkerIdentity.current()
    Build.objects.filter(pk=gone.pk).update(worker=f"{me.host}:{me.host_id}:{me.pid}:1")
    Supervisor(lambda _: None).tick()
    assert [one.status for one in attempts("lost")] == ["FAILED", "QUEUED"]
    Supervisor(lambda _: None).tick()
    assert len(attempts("lost")) == 2


def test_a_protected_job_is_tried_again_under_its_first_arming():
    run("armed", arm=True)
    assert runner.run_next() is not None
    (_, again) = attempts("armed")
    assert again.armed
    assert again.exception_type == "ValueError", "it ran"


def test_what_was_cancelled_is_not_tried_again():
    made = services.request_build(job=Job.objects.get(pk="twice"), trigger="quick")
    claimed = services.claim(worker=WorkerIdentity.current())
    services.cancel_build(build=made)
    failed = services.Outcome(status=Build.Status.FAILED, failure_kind="exception")
    assert services.close_build(build=claimed, outcome=failed, lease_seconds=None)
    assert [one.status for one in attempts("twice")] == ["CANCELLED"]


def test_a_skip_is_no_failure():
    run("skips")
    assert [one.status for one in attempts("skips")] == ["SKIPPED"]


def test_a_build_that_was_run_in_place_answers_to_who_ran_it():
    build("twice")
    assert len(attempts("twice")) == 1


def test_a_build_that_was_run_in_place_is_not_tried_again_when_its_process_died():
    """Of a build inside a build, that around it is: the inner one would run twice."""
    asked = services.create_build(job=Job.objects.get(pk="lost"), trigger="nested")
    me = WorkerIdentity.current()
    gone = WorkerIdentity(me.host, me.host_id, me.pid, "1")
    assert services.claim(worker=gone, build_id=asked.pk) is not None
    Supervisor(lambda _: None).tick()
    assert [one.status for one in attempts("lost")] == ["FAILED"]


def test_a_database_that_goes_away_between_claim_and_call_is_waited_for(monkeypatch):
    """A restart of the server kills no worker, so it loses no build either."""
    build("input")
    load, failures = calling.load_inputs, [OperationalError("away"), InterfaceError("away")]

    def load_inputs(number):
        if failures:
            raise failures.pop()
        return load(number)

    monkeypatch.setattr(calling, "load_inputs", load_inputs)
    made = run("takes")
    assert (made.status, made.payload.retval_text) == ("SUCCESSFUL", "7")


def test_a_retired_job_is_not_tried_again():
    services.request_build(job=Job.objects.get(pk="twice"), trigger="quick")
    use_config("jobs: []")
    runner.run_next()
    assert [one.status for one in attempts("twice")] == ["FAILED"]


def test_an_input_of_a_waiting_retry_can_not_be_deleted():
    used = build("input")
    run("uses")
    assert services.why_in_use(used) != ""


def test_a_block_from_before_the_key_meant_anything_is_not_tried_again():
    made = services.request_build(job=Job.objects.get(pk="twice"), trigger="quick")
    BuildPayload.objects.filter(build=made).update(
        config={"function": "tests.support.endless_jobs:fail", "retries": "often"}
    )
    runner.run_next()
    assert [one.status for one in attempts("twice")] == ["FAILED"]
