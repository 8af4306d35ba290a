"""The promises, step by step: whatever workers, messages and people do, and in whatever order."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db.models import F
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from builds import queue, services
from builds.models import Build, BuildDependency
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from builds.services import promotions
from builds.sessions import BuildSession
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import BuildStateError, LeaseLost
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support.jobs import use_config
from tests.support.leases import settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

EXAMPLES = int(os.environ.get("JOBCONTROL_EXAMPLES", "20"))
STEPS = 40
COUNT = 2  # retries of the job `again`
CONFIG = f"""
jobs:
  - {{id: once, function: "tests.support.odd_jobs:value"}}
  - {{id: alone, function: "tests.support.odd_jobs:value", concurrency: 1}}
  - id: again
    function: "tests.support.odd_jobs:value"
    timeout: 30
    retries: &retries {{count: {COUNT}, delay: 100, on: [exception, timeout, worker_lost]}}
  - {{id: left, function: "tests.support.odd_jobs:value", retries: *retries}}
  - {{id: right, function: "tests.support.odd_jobs:value"}}
  - {{id: child, function: "tests.support.odd_jobs:value", dependencies: [left, right]}}
  - {{id: last, function: "tests.support.odd_jobs:value", dependencies: [child]}}
"""
RETRIED = ("again", "left")
OUTCOMES = {
    "well": services.Outcome(status=Build.Status.SUCCESSFUL),
    "skip": services.Outcome(status=Build.Status.SKIPPED),
    "badly": services.Outcome(status=Build.Status.FAILED, failure_kind="exception"),
}
LEASE, GRACE = 60.0, 10.0
SETTLE_AFTER = promotions.settle_after
FINAL = ("status", "failure_kind", "end_time", "claim_token", "worker", "exception_message")


@dataclass(eq=False)
class Worker:
    """A process, as the machine imagines it."""

    identity: WorkerIdentity
    lives: bool = True
    sleeps: bool = False  # stopped: no heartbeat, but it may go on later
    build: Build | None = None


class Promises(RuleBasedStateMachine):
    """People, workers, messages and two supervisors around one database."""

    def __init__(self) -> None:
        super().__init__()
        Build.objects.all().delete()
        Plan.objects.all().delete()
        self.messages = 0
        self.workers: list[Worker] = []
        self.final: dict[int, tuple] = {}
        self.claims: dict[int, list[object]] = {}
        self.given_back = 0
        self.forgetful = False
        for _ in range(3):
            self.add_worker()
        self.supervisors = [settled(self.send), settled(self.send)]

    @initialize()
    def wire(self) -> None:
        queue.wake = lambda times=1, queue="default": self.send(times)
        promotions.settle_after = self.settle_unless_it_dies
        WorkerIdentity.is_alive = lambda identity: self.owner(identity).lives
        WorkerIdentity.kill = self.kill_by_supervisor(self)
        # Two builds that share a waiting one, and one that is tried again, run to begin with.
        self.ask_for_a_plan("last", forgetful=False)
        for job in ("again", "once"):
            self.ask(job)
        for worker in self.workers[:3]:
            self.claim(worker)

    # --- The imagined world ---

    @staticmethod
    def kill_by_supervisor(machine):
        def kill(identity: WorkerIdentity) -> bool:
            machine.end(machine.owner(identity))
            return True

        return kill

    def add_worker(self) -> None:
        me = WorkerIdentity.current()
        number = 1_000_000 + len(self.workers)
        # Every other one is on another host: it can't be killed from here, and wakes up later.
        host = ("elsewhere", "0123456789ab") if number % 2 else (me.host, me.host_id)
        self.workers.append(Worker(WorkerIdentity(*host, number, "1")))

    def owner(self, identity: WorkerIdentity) -> Worker:
        return next(worker for worker in self.workers if worker.identity == identity)

    def end(self, worker: Worker) -> None:
        """The process is gone, and the sentinel starts another one."""
        if worker.lives:
            worker.lives, worker.build = False, None
            self.add_worker()

    def send(self, times: int = 1) -> bool:
        self.messages += times
        return True

    def some(self, number: int, *, busy: bool, sleeps: bool = False) -> Worker | None:
        fit = [
            worker
            for worker in self.workers
            if worker.lives and worker.sleeps == sleeps and (worker.build is not None) == busy
        ]
        return fit[number % len(fit)] if fit else None

    def settle_unless_it_dies(self, ended: list[int]) -> None:
        """Whoever ended these may die before it looks at what waits for them."""
        if not self.forgetful:
            SETTLE_AFTER(ended)

    # --- What people do ---

    @rule(job=st.sampled_from(["once", "again", "alone"]))
    def ask(self, job: str) -> None:
        services.request_build(job=Job.objects.get(pk=job), trigger="python")

    @rule(job=st.sampled_from(["child", "last"]), forgetful=st.booleans())
    def ask_for_a_plan(self, job: str, forgetful: bool) -> None:
        self.forgetful = forgetful
        options = Options(dependencies=Dependencies.ALL)
        services.request_build(job=Job.objects.get(pk=job), trigger="python", options=options)

    @rule(number=st.integers(0, 5))
    def cancel_a_plan(self, number: int) -> None:
        plans = list(Plan.objects.order_by("pk"))
        if plans:
            services.cancel_plan(plan=plans[number % len(plans)])

    @rule(number=st.integers(0, 20), running=st.booleans())
    def cancel(self, number: int, running: bool) -> None:
        every = list((Build.objects.running() if running else Build.objects).order_by("pk"))
        if not every:
            return
        build = every[number % len(every)]
        before = build.status
        try:
            services.cancel_build(build=build)
        except BuildStateError:
            assert build.finished
        else:
            assert build.cancel_requested is not None
            assert build.status == ("RUNNING" if before == "RUNNING" else "CANCELLED")

    # --- What becomes of messages: all are alike, so that order is nothing ---

    @precondition(lambda self: self.messages > 0)
    @rule()
    def lose_message(self) -> None:
        self.messages -= 1

    @precondition(lambda self: self.messages > 0)
    @rule()
    def double_message(self) -> None:
        self.messages += 1

    @precondition(lambda self: self.messages > 0)
    @rule(number=st.integers(0, 5))
    def deliver(self, number: int) -> None:
        worker = self.some(number, busy=False)
        if worker is not None:
            self.messages -= 1
            self.claim(worker)

    @rule(number=st.integers(0, 5))
    def end_one_and_begin_what_may_begin(self, number: int) -> None:
        """As workers do that go on claiming without a message."""
        worker = self.some(number, busy=True)
        if worker is not None:
            self.end_build(worker, "well")
        for idle in list(self.workers):
            if idle.lives and not idle.sleeps and idle.build is None:
                self.claim(idle)

    @rule(number=st.integers(0, 5), how=st.sampled_from(sorted(OUTCOMES)))
    def finish_without_the_token(self, number: int, how: str) -> None:
        """Somebody who held it once, before it was given back and claimed anew."""
        running = list(Build.objects.running().order_by("pk"))
        if running:
            session = BuildSession(running[number % len(running)].pk, uuid.uuid4(), Redactor({}))
            with pytest.raises(LeaseLost):
                services.finish_build(session=session, outcome=OUTCOMES[how])

    def claim(self, worker: Worker) -> bool:
        found = services.claim(worker=worker.identity)
        if found is None:
            return False
        self.claims.setdefault(found.pk, []).append(found.claim_token)
        worker.build = found
        return True

    @rule(number=st.integers(0, 5))
    def claim_in_doubt(self, number: int) -> None:
        """The connection breaks at the commit: claimed, and given back."""
        worker = self.some(number, busy=False)
        if worker is not None and self.claim(worker):
            build, worker.build = worker.build, None
            assert build is not None
            assert services.unclaim(token=build.claim_token)
            self.claims[build.pk].pop()

    # --- What workers do ---

    @rule(number=st.integers(0, 5), how=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, number: int, how: str) -> None:
        worker = self.some(number, busy=True)
        if worker is not None:
            self.end_build(worker, how)

    def end_build(self, worker: Worker, how: str) -> None:
        build, worker.build = worker.build, None
        assert build is not None
        limited = build.job_id if build.job_id == "alone" else None
        session = BuildSession(
            build.pk,
            build.claim_token,
            Redactor({}),
            limited_job=limited,
            in_plan=build.plan_id is not None,
        )
        before = Build.objects.get(pk=build.pk)
        try:
            status = services.finish_build(session=session, outcome=OUTCOMES[how])
        except LeaseLost:
            assert before.finished, "only what someone else closed can't be ended"
        else:
            assert not before.finished
            wanted = OUTCOMES[how].status
            assert status == ("CANCELLED" if before.cancel_requested else wanted)

    @rule(number=st.integers(0, 5), busy=st.booleans())
    def die(self, number: int, busy: bool) -> None:
        worker = self.some(number, busy=busy)
        if worker is not None:
            self.end(worker)

    @rule(number=st.integers(0, 5))
    def fall_asleep(self, number: int) -> None:
        worker = self.some(number, busy=True)
        if worker is not None:
            worker.sleeps = True

    @rule(number=st.integers(0, 5), which=st.integers(0, 1))
    def sleep_past_the_lease(self, number: int, which: int) -> None:
        self.fall_asleep(number)
        self.time_passes(70.0)
        self.supervise(which)

    @rule(number=st.integers(0, 5), how=st.sampled_from(sorted(OUTCOMES)))
    def wake_up_and_finish(self, number: int, how: str) -> None:
        worker = self.some(number, busy=True, sleeps=True)
        if worker is not None:
            worker.sleeps = False
            self.end_build(worker, how)

    # --- Time, and who looks ---

    @rule(seconds=st.sampled_from([1.0, 15.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        """Everything that was becomes older; who is awake beats."""
        later = timedelta(seconds=seconds)
        moments = ("created", "start_time", "heartbeat", "not_before", "cancel_requested")
        unfinished = Build.objects.finished(False)
        unfinished.update(**{name: F(name) - later for name in moments})
        for worker in self.workers:
            if worker.lives and not worker.sleeps and worker.build is not None:
                services.beat(build_id=worker.build.pk, token=worker.build.claim_token)

    @rule(which=st.integers(0, 1))
    def supervise(self, which: int) -> None:
        self.supervisors[which].close_lost_builds()
        services.settle_forgotten()
        self.supervisors[which].wake_for_what_waits()

    # --- What must hold, whenever one looks ---

    @invariant()
    def final_states_stay(self) -> None:
        for row in Build.objects.finished().values("pk", *FINAL):
            now = tuple(row[name] for name in FINAL)
            assert self.final.setdefault(row["pk"], now) == now
        assert Build.objects.finished().count() == len(self.final), "one was reopened"

    @invariant()
    def each_is_held_by_its_token_alone(self) -> None:
        for build in Build.objects.running():
            assert self.claims[build.pk] == [build.claim_token]
        for tokens in self.claims.values():
            assert len(tokens) <= 1, "it ran twice"

    @invariant()
    def no_job_has_more_running_than_it_allows(self) -> None:
        assert Build.objects.running().filter(job="alone").count() <= 1

    @invariant()
    def what_began_has_all_that_it_uses(self) -> None:
        links = BuildDependency.objects.exclude(build__status__in=Build.UNSTARTED)
        began = links.filter(build__start_time__isnull=False)
        assert not began.exclude(dep_build__status="SUCCESSFUL").exists()

    @invariant()
    def only_what_hangs_on_a_failure_fails_with_it(self) -> None:
        for build in Build.objects.filter(failure_kind="upstream_failed"):
            used = set(build.inputs.values_list("dep_build__status", flat=True))
            assert used & {"FAILED", "SKIPPED"}
            assert build.start_time is None

    @invariant()
    def what_is_cancelled_ends_cancelled(self) -> None:
        ended = Build.objects.finished().exclude(cancel_requested=None)
        assert not ended.exclude(status="CANCELLED").exists()

    @invariant()
    def failures_are_tried_again_once_each(self) -> None:
        groups: dict[int, list[Build]] = {}
        for build in Build.objects.order_by("pk"):
            groups.setdefault(build.retry_of_id or build.pk, []).append(build)
        for builds in groups.values():
            assert [build.attempt for build in builds] == list(range(1, len(builds) + 1))
            assert all(build.status == "FAILED" for build in builds[:-1])
            last = builds[-1]
            most = COUNT + 1 if last.job_id in RETRIED else 1
            assert len(builds) <= most
            assert last.status != "FAILED" or len(builds) == most, "it was to be tried again"

    def teardown(self) -> None:
        """However it stands now: the supervisors see everything through."""
        if all(worker.sleeps for worker in self.workers if worker.lives):
            self.add_worker()  # those that sleep now do so for ever
        for round_ in range(60):
            if not Build.objects.finished(False).exists():
                break
            self.time_passes(120.0)
            self.messages = 0  # all lost
            self.supervise(round_ % 2)
            for worker in list(self.workers):
                if self.messages and worker.lives and not worker.sleeps and not worker.build:
                    self.messages -= 1
                    if self.claim(worker):
                        self.end_build(worker, "badly")
                elif worker.lives and not worker.sleeps and worker.build:
                    self.end_build(worker, "well")
            self.final_states_stay()
            self.each_is_held_by_its_token_alone()
        assert not Build.objects.finished(False).exists(), "one was forgotten"
        self.failures_are_tried_again_once_each()
        never = Build.objects.exclude(pk__in=self.claims).exclude(status="CANCELLED")
        never = never.exclude(failure_kind="upstream_failed")
        assert not never.exists(), "one ended that never ran"


def test_the_promises_hold_after_every_step(monkeypatch, settings_of_leases):
    use_config(CONFIG)
    # Put back at the end; the machine sets its own for each example.
    monkeypatch.setattr(promotions, "settle_after", SETTLE_AFTER)
    for owner, name in ((queue, "wake"), (WorkerIdentity, "is_alive"), (WorkerIdentity, "kill")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    run_state_machine_as_test(
        Promises,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # Making a failure smaller takes minutes: only where there is time.
            phases=[Phase.generate, Phase.shrink] if EXAMPLES > 20 else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def settings_of_leases(settings):
    settings.LEASE_SECONDS, settings.GRACE_SECONDS = LEASE, GRACE
    settings.WORKERS = 3
