"""The loop in the main process of `qcluster`: it repairs what a lost process or message left.

Any number of such loops may run side by side: each step is a conditional change in the database.
Nothing here goes through the queue that it repairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from time import monotonic

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from builds import flags, queue, services, story
from builds.deletion_models import Deletion
from builds.housekeeping import Housekeeping
from builds.models import Build
from builds.rebuilds import Rebuilds
from builds.schedules import Schedules
from builds.services import Outcome
from builds.workers import WorkerIdentity, describe
from jobs import registry
from jobs.policies import spoken

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
# A build is left to its own wake-up this long before one is sent again.
LOST_AFTER = timedelta(seconds=2)
SETTLE_SECONDS = 5.0  # between two looks at what waits in plans
MAX_BACKOFF_SECONDS = 10.0
# For so many heartbeats after the database was away, nothing is ended but what died; after the
# start of a supervisor, nothing of other hosts.
PATIENT_BEATS = 2

Kind = Build.FailureKind


class Supervisor:
    """Reconciles until told to stop."""

    def __init__(
        self, wake: Callable[[int], None], worker_pids: Callable[[], Sequence[int]] = tuple
    ) -> None:
        """`wake` wakes so many of this cluster's own workers, without the broker.

        `worker_pids` tells which processes they are.
        """
        self._wake = wake
        self._worker_pids = worker_pids
        self._identity = WorkerIdentity.current()
        self._last_beat = float("-inf")
        self._last_settling = float("-inf")
        self._wait = TICK_SECONDS
        # Processes of this host that were killed because their cluster was told to stop.
        self.stopped: set[int] = set()
        self._is_away = False
        self._patient_until = float("-inf")
        # The database may have been away until a moment ago, for all that this process knows. Of
        # other hosts it hears by leases alone; their workers renew them first.
        self._new_until = monotonic() + PATIENT_BEATS * settings.HEARTBEAT_SECONDS
        self._trouble = ""
        self.schedules = Schedules()
        self.rebuilds = Rebuilds()
        self.housekeeping = Housekeeping()

    def use(
        self, wake: Callable[[int], None], worker_pids: Callable[[], Sequence[int]] = tuple
    ) -> None:
        """Wake the workers of another cluster from now on."""
        self._wake = wake
        self._worker_pids = worker_pids

    def run(self, stop: Event, goes_on: Callable[[], bool]) -> None:
        """Tick until `stop` is set or nothing goes on; a failing database is waited for."""
        self.try_tick()
        while not stop.wait(self._wait) and goes_on():
            self.try_tick()

    def try_tick(self) -> None:
        """Tick; while the database fails, the next one is to come later and later."""
        try:
            self.tick()
        except (DatabaseError, InterfaceError) as error:
            self._wait = min(self._wait * 2, MAX_BACKOFF_SECONDS)
            text = " ".join(str(error).split())
            logger.warning("the database does not answer (%s); next try in %gs", text, self._wait)
            connection.close()
            self._is_away = True
        except Exception:
            # Its end would be that of all workers, and of the builds that run well in them.
            self._wait = min(self._wait * 2, MAX_BACKOFF_SECONDS)
            logger.exception("a round of the supervisor failed; next try in %gs", self._wait)
        else:
            self._wait = TICK_SECONDS
            if self._is_away:
                logger.warning("the database answers again")
                # Nobody could renew a lease or store an outcome: those that live do so first.
                self._patient_until = monotonic() + PATIENT_BEATS * settings.HEARTBEAT_SECONDS
                self._is_away = False

    def say_goodbye(self) -> None:
        """Take this cluster off the list of those that live."""
        try:
            services.end_cluster(worker=self._identity)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the database does not answer (%s) while the cluster stops", error)

    def tick(self) -> None:
        """Do one round: follow the file, end what can't end by itself, start what is due."""
        # First: on SQLite a worker that was stopped in the middle of a write shuts everybody out.
        self.close_lost_builds()
        self.say_alive()
        self.heed_drain()
        registry.ensure_current()
        self.close_lost_deletions()
        self.settle_forgotten()
        if not flags.stopping.is_set():
            self.schedules.step()
            self.rebuilds.step()
        if flags.takes_work():
            self.wake_for_what_waits()
        if not flags.stopping.is_set():
            self.housekeeping.step()

    def say_alive(self) -> None:
        """Tell the pages, once a heartbeat, that this cluster lives, and what troubles it."""
        if monotonic() - self._last_beat >= settings.HEARTBEAT_SECONDS:
            trouble = "" if queue.broker_answers() else "the broker does not answer."
            if trouble != self._trouble:
                logger.warning(trouble or "the broker answers again.")
            self._trouble = trouble
            services.beat_cluster(
                worker=self._identity,
                workers=settings.WORKERS,
                trouble=trouble,
                queues=queue.served(),
                processes=describe(self._worker_pids()),
                draining=flags.draining.is_set(),
            )
            self._last_beat = monotonic()

    def heed_drain(self) -> None:
        """Keep this cluster's workers from taking anything while it is to be drained."""
        is_to_drain = services.is_to_drain(worker=self._identity)
        if is_to_drain == flags.draining.is_set():
            return
        if is_to_drain:
            logger.info("drained: the workers take no more builds; those that run go on")
            flags.draining.set()
        else:
            logger.info("taken up again: the workers take builds")
            flags.draining.clear()
        # The pages hear of it with the next round, when no worker is half-way into a claim.
        self._last_beat = float("-inf")

    def close_lost_builds(self) -> None:
        """End the builds whose worker is gone or does not obey; those of this host are killed."""
        running = Build.objects.running().annotate(now=Now())
        for build in running.defer("exception_message"):
            worker = WorkerIdentity.parse(build.worker)
            ending = why_to_end(build, worker, build.now)  # type: ignore[attr-defined]
            if ending is not None and ending.is_gone and worker and worker.pid in self.stopped:
                text = f"its worker ({worker.label}) was stopped."
                ending = Ending(_failed(Kind.SHUTDOWN, "WorkerStopped", text), is_gone=True)
            if ending is not None and (ending.is_gone or not self._is_patient_with(worker)):
                self._try_to_end(build, worker, ending)

    def close_lost_deletions(self) -> None:
        """Close the deletions whose worker is gone; their builds stay."""
        for found in Deletion.objects.filter(state=Deletion.State.RUNNING):
            worker = WorkerIdentity.parse(found.worker)
            is_dead = worker is not None and worker.is_here and not worker.is_alive()
            if not is_dead and self._is_patient_with(worker):
                continue
            lease = None if is_dead else settings.LEASE_SECONDS
            if services.close_lost_deletion(deletion=found, lease_seconds=lease):
                logger.error("the deletion of build #%s was lost", found.build_number)

    def wake_for_what_waits(self) -> None:
        """Wake this cluster's workers for builds whose own wake-up did not come.

        Past the broker, which may have lost it; while they are busy, nothing piles up.
        """
        due = Q(created__lt=Now() - LOST_AFTER) | Q(not_before__isnull=False)
        ours = Build.objects.eligible().filter(due, queue__in=queue.served())
        # Without those of jobs that are full: their workers would find nothing, again and again.
        waiting = services.startable(ours).order_by().values("pk")[: settings.WORKERS].count()
        count = waiting or Deletion.objects.filter(state=Deletion.State.WAITING)[:1].count()
        if count:
            self._wake(count)

    def settle_forgotten(self) -> None:
        """Start or end, every few seconds, what waits in plans for nothing, or for nobody."""
        if monotonic() - self._last_settling >= SETTLE_SECONDS:
            self._last_settling = monotonic()
            services.cancel_abandoned_plans(patient=self._is_patient_with(None))
            count = services.settle_forgotten()
            if count:
                logger.warning("%s builds waited for nothing any more", count)

    def _is_patient_with(self, worker: WorkerIdentity | None) -> bool:
        """Whether the silence of this worker may be that of the database."""
        if self._is_away or monotonic() < self._patient_until:
            return True
        is_here = worker is not None and worker.is_here
        return not is_here and monotonic() < self._new_until

    def _try_to_end(self, build: Build, worker: WorkerIdentity | None, ending: Ending) -> None:
        try:
            if ending.is_gone or ending.by_lease:
                self._end(build, worker, ending)
                return
            self._end_while_held(build, worker, ending)
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            # Whatever is wrong with this build, the others must not wait for it.
            logger.exception("build #%s can't be ended", build.pk)

    def _end_while_held(self, build: Build, worker: WorkerIdentity | None, ending: Ending) -> None:
        try:
            with transaction.atomic():
                # While the row is held its worker can't end this build and begin another, which
                # would be killed in its place.
                if services.hold(build=build):
                    self._end(build, worker, ending)
        except OperationalError:
            if connection.vendor != "sqlite":
                raise
            # Who keeps the file from being written may be this very worker, stuck in the middle of
            # a write; and nobody can begin another build meanwhile.
            self._end(build, worker, ending)

    def _end(self, build: Build, worker: WorkerIdentity | None, ending: Ending) -> None:
        # Stop it before the record says that it has stopped: it must not go on once someone may
        # build the job again. Whose lease is over is closed even if it can't be killed from here.
        is_gone = ending.is_gone
        if not is_gone and worker is not None and worker.is_here:
            lease = settings.LEASE_SECONDS if ending.by_lease else None
            is_gone = services.is_held(build=build, lease_seconds=lease) and worker.kill()
        if not (is_gone or ending.by_lease):
            return
        lease = settings.LEASE_SECONDS if ending.by_lease else None
        if services.close_build(build=build, outcome=ending.outcome, lease_seconds=lease):
            story.tell(
                logger,
                "closed",
                level=logging.ERROR,
                build=build.pk,
                job=build.job_id,
                kind=ending.outcome.failure_kind,
                killed=worker.pid if is_gone and worker and not ending.is_gone else None,
                why=ending.outcome.exception_message,
            )


# --- Why a running build is ended -----------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How a running build is ended by someone else than its worker.

    `is_gone`: its process does not exist any more; `by_lease`: its process is silent.
    """

    outcome: Outcome
    is_gone: bool = False
    by_lease: bool = False


def why_to_end(build: Build, worker: WorkerIdentity | None, now: datetime) -> Ending | None:
    """Say why a running build has to be ended, None if it may run; `now` is database time."""
    label = worker.label if worker else build.worker
    grace = timedelta(seconds=settings.GRACE_SECONDS)
    is_here = worker is not None and worker.is_here
    if worker is not None and is_here and not worker.is_alive():
        return Ending(_lost(build, label), is_gone=True)
    lease = timedelta(seconds=settings.LEASE_SECONDS)
    is_silent = build.heartbeat is None or build.heartbeat + lease < now
    if is_here and build.cancel_requested and build.cancel_requested + grace < now:
        text = f"its worker ({label}) was killed: it did not stop."
        return Ending(_failed("", "", text), by_lease=is_silent)
    limit = build.timeout
    if is_here and limit and build.start_time and build.start_time + limit + grace < now:
        text = f"it ran for more than {spoken(limit.total_seconds())}, and its worker ({label})"
        text += " was killed: it did not stop."
        return Ending(_failed(Kind.TIMEOUT, "Timeout", text), by_lease=is_silent)
    return Ending(_lost(build, label), by_lease=True) if is_silent else None


def _lost(build: Build, label: str) -> Outcome:
    seen = f"{build.heartbeat:%Y-%m-%d %H:%M:%S} UTC" if build.heartbeat else "never"
    text = f"the worker ({label}) was lost; last seen {seen}."
    return _failed(Kind.WORKER_LOST, "WorkerLost", text)


def _failed(kind: str, name: str, text: str) -> Outcome:
    return Outcome(
        status=Build.Status.FAILED,
        failure_kind=kind,
        exception_type=name,
        exception_message=text,
    )
