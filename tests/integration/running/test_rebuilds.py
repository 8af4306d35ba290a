"""`rebuild: auto`: a job follows the newest successes of what it needs."""

from __future__ import annotations

import pytest
from django.db import DataError

from builds import queue, runner, services
from builds.models import Build
from builds.rebuilds import Rebuilds
from builds.services import rebuilds
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

F = 'function: "tests.support.odd_jobs:value"'
CONFIG = f"""
jobs:
  - {{id: a, {F}}}
  - {{id: b, {F}}}
  - {{id: plain, {F}, dependencies: [a]}}
  - {{id: last, {F}, dependencies: [a, b], rebuild: auto}}
"""


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda *_, **__: True)
    use_config(CONFIG)


def step(times: int = 1) -> None:
    """Let a supervisor that has just started look for newer inputs."""
    for _ in range(times):
        Rebuilds().step()


def own(job: str = "last") -> list[Build]:
    return list(Build.objects.filter(job=job).order_by("pk"))


def inputs(made: Build) -> dict[str, int]:
    return dict(made.inputs.values_list("job_id", "dep_build_number"))


def run(made: Build, status: str = "SUCCESSFUL") -> None:
    claimed = services.claim(worker=WorkerIdentity.current(), build_id=made.pk)
    assert claimed is not None
    # Named only so that it is this one; it runs as in a worker, whose builds are tried again.
    Build.objects.filter(pk=claimed.pk).update(in_place=False)
    claimed.in_place = False
    outcome = services.Outcome(status=status, failure_kind="exception" * (status == "FAILED"))
    assert services.close_build(build=claimed, outcome=outcome, lease_seconds=None)


def test_a_newer_success_starts_one_build_that_uses_it():
    a = build("a")
    step(2)
    assert own() == []  # b has no success yet
    b = build("b")
    step(3)
    (made,) = own()
    assert (made.trigger, made.status) == ("rebuild", "QUEUED")
    assert inputs(made) == {"a": a.pk, "b": b.pk}
    assert own("plain") == []
    run(made)
    step(2)
    assert own() == [made]
    newer = build("a")
    step(2)
    assert [inputs(one) for one in own()] == [inputs(made), {"a": newer.pk, "b": b.pk}]


def test_one_query_while_nothing_is_newer(django_assert_num_queries):
    with django_assert_num_queries(1):
        step()


def test_it_is_looked_for_now_and_then_only(django_assert_num_queries):
    one = Rebuilds()
    one.step()
    with django_assert_num_queries(0):
        one.step()


def test_a_build_that_waits_is_given_the_newer_input():
    build("a"), build("b")
    step()
    newer = [build("a"), build("b"), build("a")]
    step(2)
    (made,) = own()
    assert inputs(made) == {"a": newer[2].pk, "b": newer[1].pk}
    link = made.inputs.get(job="a")
    assert link.dep_build_id == newer[2].pk


def test_a_build_whose_inputs_somebody_chose_keeps_them_and_is_followed_by_one_more():
    old, _ = build("a"), build("b")
    newer = build("a")
    made = services.request_build(
        job=Job.objects.get(pk="last"), trigger="manual", dependency_builds={"a": old.pk}
    )
    step(2)
    assert [inputs(one)["a"] for one in own()] == [old.pk]
    run(made)
    step(2)
    assert [inputs(one)["a"] for one in own()] == [old.pk, newer.pk]


def test_while_a_build_runs_one_more_follows_afterwards():
    build("a"), build("b")
    step()
    (made,) = own()
    claimed = services.claim(worker=WorkerIdentity.current(), build_id=made.pk)
    newer = [build("a"), build("a")]
    step(2)
    assert len(own()) == 1
    done = services.Outcome(status="SUCCESSFUL")
    assert services.close_build(build=claimed, outcome=done, lease_seconds=None)
    step(3)
    assert [inputs(one)["a"] for one in own()][1:] == [newer[1].pk]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "SKIPPED"])
def test_a_build_that_ended_badly_is_not_repeated(status):
    build("a"), build("b")
    step()
    run(own()[0], status)
    step(2)
    assert len(own()) == 1


def test_a_build_that_waits_in_a_plan_is_left_alone():
    build("a"), build("b")
    step()
    Build.objects.filter(job="last").update(status="WAITING")
    before = inputs(own()[0])
    build("a")
    step(2)
    assert [inputs(one) for one in own()] == [before]


def test_a_build_of_the_python_api_that_was_not_asked_to_run_is_no_reason_to_wait():
    build("a"), build("b")
    services.create_build(job=Job.objects.get(pk="last"), trigger="python")
    step()
    assert [one.status for one in own()] == ["CREATED", "QUEUED"]


def test_a_retry_is_not_doubled():
    retries = "retries: {count: 1, delay: 1h}, rebuild: auto"
    use_config(CONFIG.replace("rebuild: auto", retries))
    first, _ = build("a"), build("b")
    step()
    run(own()[0], "FAILED")
    assert [one.attempt for one in own()] == [1, 2]
    newer = build("a")
    step(2)
    assert [inputs(one)["a"] for one in own()] == [first.pk, first.pk]
    Build.objects.filter(attempt=2).update(not_before=None)
    run(own()[1])
    step(2)
    assert [inputs(one)["a"] for one in own()] == [first.pk, first.pk, newer.pk]


def test_a_protected_job_is_never_rebuilt_by_itself():
    use_config(CONFIG.replace("rebuild: auto", "rebuild: auto, protect: true"))
    build("a"), build("b")
    step()
    assert rebuilds.rebuild_job(job_id="last") is None
    assert own() == []


def test_a_job_that_left_the_file_is_not_rebuilt():
    build("a"), build("b")
    use_config(f"jobs:\n  - {{id: a, {F}}}\n")
    step()
    assert rebuilds.rebuild_job(job_id="last") is None
    assert own() == []


def test_a_pin_of_the_file_is_no_reason():
    pinned, _ = build("a"), build("b")
    use_config(CONFIG.replace("rebuild: auto", f"rebuild: auto, pinned_builds: {{a: {pinned.pk}}}"))
    step()
    run(own()[0])
    build("a")
    step(2)
    assert len(own()) == 1
    newer = build("b")
    step()
    assert inputs(own()[1]) == {"a": pinned.pk, "b": newer.pk}


def test_one_after_the_other_follows_down_the_graph():
    use_config(CONFIG + f"  - {{id: after, {F}, dependencies: [last], rebuild: auto}}\n")
    build("a"), build("b")
    for _ in range(4):
        step()
        for made in Build.objects.queued():
            runner.run_here(made)
    assert [one.status for one in own("after")] == ["SUCCESSFUL"]


@pytest.mark.parametrize("error", [RuntimeError, DataError])
def test_what_can_not_be_built_keeps_no_other_from_being_rebuilt(monkeypatch, caplog, error):
    build("a"), build("b")
    real = services.rebuild_job
    use_config(CONFIG + f"  - {{id: good, {F}, dependencies: [a], rebuild: auto}}\n")

    def failing(*, job_id):
        if job_id == "last":
            raise error("odd")
        return real(job_id=job_id)

    monkeypatch.setattr(services, "rebuild_job", failing)
    step()
    assert len(own("good")) == 1
    assert "last can't be rebuilt by itself" in caplog.text
