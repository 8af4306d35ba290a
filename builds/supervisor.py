"""The loop in the main process of `qcluster`: it repairs what a lost process or message left.

Any number of such loops may run side by side: each step is a conditional change in the database.
Nothing here goes through the queue that it repairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from time import monotonic

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from builds import queue, services
from builds.models import Build, Deletion
from builds.workers import WorkerIdentity
from jobs import registry

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
# A build is left to its own wake-up this long before one is sent again.
LOST_AFTER = timedelta(seconds=2)
MAX_BACKOFF_SECONDS = 30.0


class Supervisor:
    """Reconciles until told to stop."""

    def __init__(self, stop: Event, is_cluster_alive: Callable[[], bool]) -> None:
        self._stop = stop
        self._is_cluster_alive = is_cluster_alive
        self._identity = WorkerIdentity.current()
        self._last_beat = float("-inf")

    def run(self) -> None:
        """Tick until `stop` is set or the cluster is gone; a failing database is waited for."""
        wait = TICK_SECONDS
        self._try_tick(wait)
        while not self._stop.wait(wait) and self._is_cluster_alive():
            wait = self._try_tick(wait)
        self._say_goodbye()

    def _try_tick(self, wait: float) -> float:
        """Tick; return how long to wait for the next one."""
        try:
            self.tick()
        except (DatabaseError, InterfaceError) as error:
            wait = min(wait * 2, MAX_BACKOFF_SECONDS)
            logger.warning("the database does not answer (%s); next try in %gs", error, wait)
            connection.close()
            return wait
        return TICK_SECONDS

    def _say_goodbye(self) -> None:
        try:
            services.end_cluster(worker=self._identity)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the database does not answer (%s) while the cluster stops", error)

    def tick(self) -> None:
        """Do one round: follow the file, close lost builds, send lost wake-ups again."""
        self.say_alive()
        registry.ensure_current()
        self.close_lost_builds()
        self.close_lost_deletions()
        self.resend_wake_ups()

    def say_alive(self) -> None:
        """Tell the pages, once a heartbeat, that this cluster lives."""
        if monotonic() - self._last_beat >= settings.HEARTBEAT_SECONDS:
            services.beat_cluster(worker=self._identity, workers=settings.WORKERS)
            self._last_beat = monotonic()

    def close_lost_builds(self) -> None:
        """Close the builds whose lease is over, and those of this host whose process is gone."""
        over = Build.objects.lease_over(settings.LEASE_SECONDS)
        over_ids = set(over.values_list("pk", flat=True))
        for build in Build.objects.running().only("pk", "worker", "claim_token", "heartbeat"):
            worker = WorkerIdentity.parse(build.worker)
            is_dead = worker is not None and worker.is_here and not worker.is_alive()
            if build.pk in over_ids or is_dead:
                self._close(build, worker, is_dead=is_dead)

    def close_lost_deletions(self) -> None:
        """Close the deletions whose worker is gone; their builds stay."""
        for found in Deletion.objects.filter(state=Deletion.State.RUNNING):
            worker = WorkerIdentity.parse(found.worker)
            is_dead = worker is not None and worker.is_here and not worker.is_alive()
            lease = None if is_dead else settings.LEASE_SECONDS
            if services.close_lost_deletion(deletion=found, lease_seconds=lease):
                logger.error("the deletion of build #%s was lost", found.build_number)

    def resend_wake_ups(self) -> None:
        """Wake workers for builds that wait while no message does.

        Only when the broker holds none: behind a long backlog nothing piles up.
        """
        waiting = (
            Build.objects.eligible()
            .filter(created__lt=Now() - LOST_AFTER)
            .values_list("pk", flat=True)[: settings.WORKERS]
        )
        count = len(waiting) or Deletion.objects.filter(state=Deletion.State.WAITING)[:1].count()
        if count and queue.waiting_wake_ups() == 0:
            queue.wake(times=count)

    def _close(self, build: Build, worker: WorkerIdentity | None, *, is_dead: bool) -> None:
        if worker is not None and worker.is_here and not is_dead:
            # Stop it before the record says that it has stopped. It can't be told apart from a
            # process that hangs, and must not go on once someone may build the job again.
            worker.kill()
        lease = None if is_dead else settings.LEASE_SECONDS
        if services.close_lost_build(build=build, lease_seconds=lease):
            logger.error(
                "build #%s failed: its worker (%s) was lost",
                build.pk,
                worker.label if worker else build.worker,
            )
