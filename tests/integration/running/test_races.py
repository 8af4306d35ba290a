"""Two things at the same moment, again and again: one of the allowed outcomes, and nothing else.

`JOBCONTROL_RACES` is how often each is tried; `make test-races` tries 1,000 times.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.db.models.functions import Now

from builds import queue, services
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from builds.planning import Dependencies, Options
from builds.sessions import BuildSession
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import BuildStateError, LeaseLost, LimitReached
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support.jobs import use_config

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

TIMES = int(os.environ.get("JOBCONTROL_RACES", "40"))
CONFIG = """
jobs:
  - {id: job, function: "tests.support.odd_jobs:value"}
  - id: again
    function: "tests.support.odd_jobs:value"
    retries: {count: 5, on: [exception, worker_lost]}
  - {id: alone, function: "tests.support.odd_jobs:value", concurrency: 1}
"""
LEASE = 60.0
DONE = services.Outcome(status=Build.Status.SUCCESSFUL)
FAILED = services.Outcome(status=Build.Status.FAILED, failure_kind="exception")
LOST = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": True)
    use_config(CONFIG)


class Pair:
    """Two threads, each with a connection, that begin each round at the same moment."""

    def __init__(self) -> None:
        self._begin, self._end = threading.Barrier(3), threading.Barrier(3)
        self._acts: list[Callable[[], object] | None] = [None, None]
        self._said: list[object] = [None, None]
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in (0, 1)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        try:
            while True:
                self._begin.wait(60)
                act = self._acts[number]
                if act is None:
                    return
                try:
                    self._said[number] = act()
                except (BuildStateError, LeaseLost, LimitReached) as error:
                    self._said[number] = type(error).__name__
                except BaseException as error:
                    self._said[number] = repr(error)
                self._end.wait(60)
        finally:
            connection.close()

    def race(self, one: Callable[[], object], other: Callable[[], object]) -> tuple[object, object]:
        """Do both at once; return what each returned, or the name of what it raised."""
        self._acts = [one, other]
        self._begin.wait(60)
        self._end.wait(60)
        return self._said[0], self._said[1]

    def close(self) -> None:
        self._acts = [None, None]
        self._begin.wait(60)
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def asked(job: str = "job") -> Build:
    return services.request_build(job=Job.objects.get(pk=job), trigger="python")


def claimed(job: str = "job") -> Build:
    made = asked(job)
    found = services.claim(worker=WorkerIdentity.current(), build_id=made.pk)
    assert found is not None
    # Named only so that it is this one; it runs as in a worker, which takes what comes.
    Build.objects.filter(pk=found.pk).update(in_place=False)
    found.in_place = False
    return found


def finish(made: Build, outcome: services.Outcome) -> Callable[[], object]:
    in_plan = made.plan_id is not None
    session = BuildSession(made.pk, made.claim_token, Redactor({}), in_plan=in_plan)
    return lambda: str(services.finish_build(session=session, outcome=outcome))


def cancel(made: Build) -> Callable[[], object]:
    return lambda: services.cancel_build(build=Build.objects.get(pk=made.pk)).status


def lose(made: Build) -> Callable[[], object]:
    return lambda: services.close_build(build=made, outcome=LOST, lease_seconds=LEASE)


def state(made: Build) -> tuple[str, int]:
    """The build's state, and how many retries it has."""
    row = Build.objects.get(pk=made.pk)
    return row.status, Build.objects.filter(retry_of=made).count()


def tell(seen: Counter) -> None:
    print(*(f"{count} × {what}" for what, count in seen.most_common()), sep="\n")


def test_cancel_against_finish(pair: Pair):
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = claimed("again")
        said = pair.race(cancel(made), finish(made, FAILED))
        seen[(*said, *state(made))] += 1
        Build.objects.filter(retry_of=made).delete()
    tell(seen)
    assert set(seen) <= {
        # The cancel came first: it is cancelled, and not tried again.
        ("RUNNING", "CANCELLED", "CANCELLED", 0),
        ("CANCELLED", "CANCELLED", "CANCELLED", 0),  # as it was read after both
        # The end came first.
        ("BuildStateError", "FAILED", "FAILED", 1),
    }


def test_cancel_against_cancel(pair: Pair):
    seen: Counter = Counter()
    for number in range(TIMES):
        made = claimed() if number % 2 else asked()
        said = pair.race(cancel(made), cancel(made))
        lines = made.log_messages.count()
        seen[(*said, state(made)[0], lines)] += 1
    tell(seen)
    assert set(seen) <= {
        ("CANCELLED", "CANCELLED", "CANCELLED", 1),
        ("RUNNING", "RUNNING", "RUNNING", 0),
    }


def test_cancel_against_claim(pair: Pair):
    seen: Counter = Counter()
    worker = WorkerIdentity.current()
    for _ in range(TIMES):
        made = asked()
        said = pair.race(cancel(made), lambda: services.claim(worker=worker) is not None)
        row = Build.objects.get(pk=made.pk)
        seen[(*said, row.status, row.claim_token is not None, row.cancel_requested is None)] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) <= {
        ("CANCELLED", False, "CANCELLED", False, False),
        ("RUNNING", True, "RUNNING", True, False),  # it is told to end
    }


def test_lease_loss_against_finish(pair: Pair):
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = claimed("again")
        Build.objects.filter(pk=made.pk).update(heartbeat=Now() - timedelta(hours=1))
        said = pair.race(lose(made), finish(made, FAILED))
        kind = Build.objects.get(pk=made.pk).failure_kind
        seen[(*said, *state(made), kind)] += 1
        Build.objects.filter(retry_of=made).delete()
    tell(seen)
    assert set(seen) <= {
        (True, "LeaseLost", "FAILED", 1, "worker_lost"),
        (False, "FAILED", "FAILED", 1, "exception"),
    }


def test_lease_loss_against_a_heartbeat(pair: Pair):
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = claimed()
        Build.objects.filter(pk=made.pk).update(heartbeat=Now() - timedelta(hours=1))
        beat = {"build_id": made.pk, "token": made.claim_token}
        said = pair.race(lose(made), lambda beat=beat: services.beat(**beat))
        seen[(*said, state(made)[0])] += 1
    tell(seen)
    assert set(seen) <= {(True, False, "FAILED"), (False, True, "RUNNING")}


def test_two_supervisors_close_one_build(pair: Pair):
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = claimed("again")
        Build.objects.filter(pk=made.pk).update(heartbeat=Now() - timedelta(hours=1))
        said = pair.race(lose(made), lose(made))
        lines = made.log_messages.filter(message__startswith="Build failed").count()
        seen[(frozenset(said), *state(made), lines)] += 1
        Build.objects.filter(retry_of=made).delete()
    tell(seen)
    assert set(seen) <= {(frozenset({True, False}), "FAILED", 1, 1)}


def test_double_claim(pair: Pair):
    seen: Counter = Counter()
    worker = WorkerIdentity.current()

    def claim(number: int | None):
        token = uuid.uuid4()
        found = services.claim(worker=worker, build_id=number, token=token)
        return None if found is None else token

    for round_ in range(TIMES):
        made = asked()
        number = made.pk if round_ % 2 else None
        tokens = pair.race(lambda: claim(None), lambda number=number: claim(number))
        row = Build.objects.get(pk=made.pk)
        won = [token for token in tokens if token is not None]
        seen[(len(won), won == [row.claim_token], row.status)] += 1
    tell(seen)
    assert set(seen) == {(1, True, "RUNNING")}


def test_delete_against_start(pair: Pair):
    seen: Counter = Counter()
    worker = WorkerIdentity.current()
    for _ in range(TIMES):
        made = asked()
        said = pair.race(
            lambda made=made: services.request_deletion(build=made).state,
            lambda: services.claim(worker=worker) is not None,
        )
        row = Build.objects.get(pk=made.pk)
        seen[(*said, row.status, row.deleting)] += 1
        Build.objects.all().delete()
        Deletion.objects.all().delete()
    tell(seen)
    assert set(seen) <= {
        ("WAITING", False, "QUEUED", True),
        ("BuildStateError", True, "RUNNING", False),
    }


def test_two_removals_of_builds_that_use_each_other(pair: Pair):
    """Each takes every other build of a line, whose links and retries both have to change."""
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = Build.objects.bulk_create(Build(job_id="job", status="FAILED") for _ in range(24))
        for before, build in pairwise(made):
            build.retry_of = before
        Build.objects.bulk_update(made, ["retry_of"])
        BuildDependency.objects.bulk_create(
            BuildDependency(build=one, job_id="job", dep_build=used, dep_build_number=used.pk)
            for used, one in pairwise(made)
        )
        numbers = [build.pk for build in made]
        services.request_deletions(builds=numbers)
        said = pair.race(
            lambda some=numbers[::2]: services.remove_builds(builds=some),
            lambda some=numbers[1::2]: services.remove_builds(builds=some),
        )
        seen[said] += 1
        assert said == (12, 12)
    tell(seen)
    assert not Build.objects.exists()
    assert not Deletion.objects.exclude(state="DONE").exists()


FORK = """
jobs:
  - {id: left, function: "tests.support.odd_jobs:value"}
  - {id: right, function: "tests.support.odd_jobs:value"}
  - {id: child, function: "tests.support.odd_jobs:value", dependencies: [left, right]}
  - {id: grandchild, function: "tests.support.odd_jobs:value", dependencies: [child]}
"""


def fork() -> dict[str, Build]:
    """A plan in which `child` waits for `left` and `right`, which both run."""
    options = Options(dependencies=Dependencies.ALL)
    services.request_build(job=Job.objects.get(pk="grandchild"), trigger="python", options=options)
    worker = WorkerIdentity.current()
    assert services.claim(worker=worker)
    assert services.claim(worker=worker)
    return {build.job_id: build for build in Build.objects.all()}


@pytest.mark.parametrize("ends", ["well", "badly", "cancelled"])
def test_two_finishers_that_share_a_waiting_child(pair: Pair, ends: str):
    """Whoever is later sees both ends: the child starts, or ends with them, once."""
    use_config(FORK)
    outcome = {"well": DONE, "badly": FAILED, "cancelled": DONE}[ends]
    seen: Counter = Counter()
    for _ in range(TIMES):
        builds = fork()
        left, right, child = builds["left"], builds["right"], builds["child"]
        if ends == "cancelled":
            Build.objects.filter(pk=left.pk).update(cancel_requested=Now())
        said = pair.race(finish(left, outcome), finish(right, DONE))
        row = Build.objects.get(pk=child.pk)
        lines = child.log_messages.count()
        last = Build.objects.get(job="grandchild").status
        seen[(*said, row.status, row.failure_kind, lines, last)] += 1
        Build.objects.all().delete()
    tell(seen)
    allowed = {
        "well": ("SUCCESSFUL", "SUCCESSFUL", "QUEUED", "", 0, "WAITING"),
        "badly": ("FAILED", "SUCCESSFUL", "FAILED", "upstream_failed", 1, "FAILED"),
        "cancelled": ("CANCELLED", "SUCCESSFUL", "CANCELLED", "", 1, "CANCELLED"),
    }
    assert set(seen) == {allowed[ends]}


def test_a_cancel_against_the_end_of_what_the_build_waits_for(pair: Pair):
    use_config(FORK)
    seen: Counter = Counter()
    for _ in range(TIMES):
        builds = fork()
        finish(builds["right"], DONE)()
        pair.race(finish(builds["left"], DONE), cancel(builds["child"]))
        child, last = (Build.objects.get(job=name) for name in ("child", "grandchild"))
        seen[(child.status, child.log_messages.count(), last.status)] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) == {("CANCELLED", 1, "CANCELLED")}


def test_a_supervisor_against_the_end_of_what_a_build_waits_for(pair: Pair):
    use_config(FORK)
    seen: Counter = Counter()
    for _ in range(TIMES):
        builds = fork()
        finish(builds["right"], DONE)()
        said = pair.race(finish(builds["left"], FAILED), services.settle_forgotten)
        child, last = (Build.objects.get(job=name) for name in ("child", "grandchild"))
        seen[(said[0], child.status, child.log_messages.count(), last.status)] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) == {("FAILED", "FAILED", 1, "FAILED")}


def test_one_plan_is_resumed_once(pair: Pair):
    use_config(FORK)
    seen: Counter = Counter()
    for _ in range(TIMES):
        builds = fork()
        finish(builds["left"], FAILED)()
        finish(builds["right"], DONE)()
        plan = builds["child"].plan

        def resume(plan=plan):
            services.resume_plan(plan=plan, trigger="python")
            return "resumed"

        said = pair.race(resume, resume)
        seen[(frozenset(said), plan.resumed_by.count())] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) == {(frozenset({"resumed", "BuildStateError"}), 1)}


def test_claims_given_back_against_a_supervisor(pair: Pair):
    """A claim in doubt: queued again, or closed as lost; never both."""
    seen: Counter = Counter()
    for _ in range(TIMES):
        made = claimed("again")
        Build.objects.filter(pk=made.pk).update(heartbeat=Now() - timedelta(hours=1))
        token = made.claim_token
        said = pair.race(lose(made), lambda token=token: services.unclaim(token=token))
        seen[(*said, *state(made))] += 1
        Build.objects.filter(retry_of=made).delete()
    tell(seen)
    assert set(seen) <= {(True, False, "FAILED", 1), (False, True, "QUEUED", 0)}


def test_two_claims_of_a_job_with_one_place(pair: Pair):
    seen: Counter = Counter()
    worker = WorkerIdentity.current()
    for round_ in range(TIMES):
        made = [asked("alone") for _ in range(3)]
        number = made[2].pk if round_ % 2 else None
        said = pair.race(
            lambda: services.claim(worker=worker) is not None,
            lambda number=number: services.claim(worker=worker, build_id=number) is not None,
        )
        running = Build.objects.running().count()
        seen[("named" if number else "any", frozenset(said), running)] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) <= {
        ("any", frozenset({True, False}), 1),
        ("named", frozenset({True, False}), 1),
        ("named", frozenset({True, "LimitReached"}), 1),
    }


def test_a_claim_against_the_end_of_the_build_that_has_the_place(pair: Pair, monkeypatch):
    """Whoever comes first: the place is taken, or somebody is woken for it after the end."""
    woken: list[str] = []

    def wake(times: int = 1, queue: str = "default") -> bool:
        woken.append(queue)
        return True

    monkeypatch.setattr(queue, "wake", wake)
    seen: Counter = Counter()
    worker = WorkerIdentity.current()
    for _ in range(TIMES):
        made = claimed("alone")
        asked("alone")
        woken.clear()
        session = BuildSession(made.pk, made.claim_token, Redactor({}), limited_job="alone")
        said = pair.race(
            lambda: services.claim(worker=worker) is not None,
            lambda session=session: str(services.finish_build(session=session, outcome=DONE)),
        )
        taken = Build.objects.running().exists()
        seen[(*said, taken or bool(woken))] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) <= {(True, "SUCCESSFUL", True), (False, "SUCCESSFUL", True)}


def test_a_claim_against_a_sync_that_lowers_the_limit(pair: Pair):
    seen: Counter = Counter()
    worker = WorkerIdentity.current()
    for _ in range(max(TIMES // 10, 10)):
        use_config(CONFIG.replace("concurrency: 1", "concurrency: 2"))
        claimed("alone")
        asked("alone")
        said = pair.race(
            lambda: services.claim(worker=worker) is not None, lambda: use_config(CONFIG)
        )
        seen[(*said, Build.objects.running().count())] += 1
        Build.objects.all().delete()
    tell(seen)
    assert set(seen) <= {(True, None, 2), (False, None, 1)}
