"""What an ended build lets go on: dependants start, fail or are cancelled with it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from builds import queue, runner, services
from builds.models import Build
from builds.planning import Options
from builds.services import promotions
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.support.jobs import build, messages, use_config
from tests.support.plans import ALL, DIAMOND, MISSING, ask, run, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def diamond():
    use_config(DIAMOND)


def test_an_end_starts_what_waited_and_wakes_for_it(monkeypatch):
    woken = []
    monkeypatch.setattr(queue, "wake", lambda times=1, **_: woken.append(times) or True)
    target = ask("d", MISSING)
    woken.clear()
    assert run(1) == ["a"]
    assert states(target.plan) == {"a": "SUCCESSFUL", "b": "QUEUED", "c": "QUEUED", "d": "WAITING"}
    assert woken == [2]
    run(1)
    assert states(target.plan)["d"] == "WAITING"


def test_a_failure_fails_what_hangs_on_it_and_nothing_else(monkeypatch):
    monkeypatch.setenv("PLAN_FAILS", "b")
    target = ask("e", MISSING)
    assert sorted(run()) == ["a", "b", "c"]
    assert states(target.plan) == {
        "a": "SUCCESSFUL", "b": "FAILED", "c": "SUCCESSFUL", "d": "FAILED", "e": "FAILED",
    }  # fmt: skip
    failed, d, e = (Build.objects.get(job=name) for name in "bde")
    assert failed.failure_kind == "exception"
    assert (d.failure_kind, d.exception_message) == (
        "upstream_failed",
        f"build #{failed.pk} of b failed.",
    )
    assert e.exception_message == f"build #{d.pk} of d failed."
    assert d.end_time is not None
    assert d.start_time is None
    assert messages(d) == [f"Build failed before it began: build #{failed.pk} of b failed."]


def test_a_failure_that_is_tried_again_is_waited_for(monkeypatch):
    use_config(DIAMOND.replace("{id: b,", "{id: b, retries: 1,"))
    monkeypatch.setenv("PLAN_FAILS", "b")
    target = ask("d", MISSING)
    assert run(2) == ["a", "b"]
    again = Build.objects.get(retry_of__job="b")
    assert again.plan_id == target.plan_id
    assert target.inputs.get(job="b").dep_build_id == again.pk
    monkeypatch.setenv("PLAN_FAILS", "")
    run()
    target.refresh_from_db()
    assert target.status == "SUCCESSFUL"
    assert target.payload.retval_text == "'d(b(a), c(a))'"


def test_a_skipped_dependency_means_its_latest_success(monkeypatch):
    used = build("a")
    monkeypatch.setenv("PLAN_SKIPS", "a")
    target = ask("b", ALL)
    run()
    target.refresh_from_db()
    assert target.status == "SUCCESSFUL"
    assert target.inputs.get().dep_build_id == used.pk
    assert target.inputs.get().dep_build_number == used.pk


def test_a_skipped_dependency_without_a_success_fails_what_uses_it(monkeypatch):
    monkeypatch.setenv("PLAN_SKIPS", "a")
    target = ask("d", MISSING)
    run()
    skipped = Build.objects.get(job="a")
    first = Build.objects.get(job="b")
    assert (first.status, first.failure_kind) == ("FAILED", "upstream_failed")
    assert first.exception_message == (
        f"build #{skipped.pk} of a was skipped, and that job has no successful build."
    )
    target.refresh_from_db()
    assert target.status == "FAILED"


def test_cancelling_a_build_cancels_its_branch(admin_user):
    target = ask("e", MISSING)
    run(1)
    services.cancel_build(build=Build.objects.get(job="b"), requested_by=admin_user)
    assert states(target.plan) == {
        "a": "SUCCESSFUL", "b": "CANCELLED", "c": "QUEUED", "d": "CANCELLED", "e": "CANCELLED",
    }  # fmt: skip
    d = Build.objects.get(job="d")
    assert d.cancel_requested_by == admin_user
    assert d.cancel_requested is not None
    assert messages(d) == [
        f"Build cancelled before it began: build #{Build.objects.get(job='b').pk} of b "
        "was cancelled."
    ]
    assert run() == ["c"]


def test_cancelling_a_running_build_cancels_its_branch_when_it_has_ended():
    target = ask("d", MISSING)
    running = services.claim(worker=WorkerIdentity.current())
    services.cancel_build(build=running)
    assert states(target.plan)["b"] == "WAITING"
    Build.objects.filter(pk=running.pk).update(heartbeat=Now() - timedelta(hours=1))
    lost = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")
    assert services.close_build(build=running, outcome=lost, lease_seconds=60)
    assert set(states(target.plan).values()) == {"CANCELLED"}


def test_cancelling_a_plan_cancels_all_that_has_not_ended():
    target = ask("d", MISSING)
    run(2)
    cancelled = services.cancel_plan(plan=target.plan)
    assert len(cancelled) == 2
    ended = states(target.plan)
    assert sorted(ended.values()) == ["CANCELLED", "CANCELLED", "SUCCESSFUL", "SUCCESSFUL"]
    assert run() == []


def test_a_lost_worker_fails_what_hangs_on_its_build():
    target = ask("b", MISSING)
    running = services.claim(worker=WorkerIdentity.current())
    Build.objects.filter(pk=running.pk).update(heartbeat=Now() - timedelta(hours=1))
    lost = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")
    assert services.close_build(build=running, outcome=lost, lease_seconds=60)
    target.refresh_from_db()
    assert (target.status, target.failure_kind) == ("FAILED", "upstream_failed")


@pytest.mark.parametrize("end", ["SUCCESSFUL", "FAILED", "CANCELLED"])
def test_the_supervisor_finds_what_was_not_settled(monkeypatch, end):
    """The process that ended a build died before it looked at what waits for it."""
    target = ask("d", MISSING)
    first = Build.objects.get(job="a")
    Build.objects.filter(pk=first.pk).update(status=end, end_time=Now())
    Supervisor(lambda count: None).settle_forgotten()
    expected = {"SUCCESSFUL": ("QUEUED", "WAITING")}.get(end, (end, end))
    assert (states(target.plan)["b"], states(target.plan)["d"]) == expected


def test_what_still_waits_is_left_alone():
    target = ask("d", MISSING)
    assert services.settle_forgotten() == 0
    assert promotions.settle([target.pk]) == []
    target.refresh_from_db()
    assert target.status == "WAITING"


def test_an_error_while_it_is_settled_does_not_harm_what_ended(monkeypatch):
    target = ask("b", MISSING)

    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(promotions, "settle", fail)
    ended = runner.run_next()
    ended.refresh_from_db()
    assert ended.status == "SUCCESSFUL"
    monkeypatch.undo()
    services.settle_forgotten()
    target.refresh_from_db()
    assert target.status == "QUEUED"


def test_builds_outside_plans_cost_nothing_more(monkeypatch):
    def fail(*_):
        raise AssertionError("not to be called")

    monkeypatch.setattr(promotions, "settle_users", fail)
    assert build("a").status == "SUCCESSFUL"
    made = ask("a", Options())
    services.cancel_build(build=made)


def test_a_plan_in_place_is_left_to_its_process():
    target = services.create_plan(
        runner="me", job=Job.objects.get(pk="d"), trigger="cli", options=MISSING
    )
    assert set(states(target.plan).values()) == {"CREATED", "WAITING"}
    assert run() == []
    runner.run_here(Build.objects.get(job="a"))
    assert states(target.plan) == {
        "a": "SUCCESSFUL", "b": "CREATED", "c": "CREATED", "d": "WAITING",
    }  # fmt: skip
    assert run() == []
