"""`qcluster`: django-q2's cluster, with our supervisor in its main process."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from argparse import ArgumentParser
from threading import Event
from time import monotonic, sleep
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import OperationalError, connection, connections

from builds import flags, health, queue, workers
from builds.cluster import HealingCluster
from builds.models import Build
from builds.supervisor import MAX_BACKOFF_SECONDS, Supervisor
from jobcontrol.exceptions import InvalidRequest
from jobcontrol_site.commands import Command as BaseCommand
from jobs import registry
from jobs.policies import DEFAULT_QUEUE, MAX_QUEUE, queue_problem

logger = logging.getLogger(__name__)

STOP_TICK_SECONDS = 0.5
# Beyond the times for builds to end: what a stop may take besides. A database that hangs, and
# answers neither yes nor no, would keep it for ever.
SPARE_SECONDS = 20.0
# Between two starts of a sentinel that dies again and again.
RESTART_SECONDS = 2.0


class Command(BaseCommand):
    """Runs builds: worker processes, and the loop that watches over them."""

    help = "Start workers that run builds, and the supervisor that watches over them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take no argument of django-q2's."""
        parser.add_argument(
            "--queue",
            metavar="NAME",
            action="append",
            help="run builds of this queue only, in place of 'default'; several (with commas, or "
            "given again) are served in their order",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="start nothing: exit with 0 if a worker of this host lives and answers, else 1",
        )

    def run(self, **options: Any) -> None:
        """Run until SIGTERM or SIGINT, then stop in bounded time; a second signal ends at once.

        Builds that were cut off are closed as worker_lost by the next supervisor that looks.
        """
        if options.get("check"):
            self._check()
            return
        queue.serve(_queues(options.get("queue") or [DEFAULT_QUEUE]))
        stop = Event()
        _on_signals(stop)
        if not _wait_for_database(stop):
            return
        registry.ensure_current(recheck_problems=True)
        # Says in one line that there are no tables; the pusher would say it for ever.
        Build.objects.exists()
        cluster = _start_cluster()
        names = ", ".join(queue.served())
        text = "%s workers are ready for the queue %s (stop with Ctrl-C)"
        logger.info(text, settings.WORKERS, names)
        supervisor = Supervisor(cluster.wake_ups.wake, cluster.worker_pids.read)
        while True:
            supervisor.run(stop, cluster.is_alive)
            if stop.is_set():
                break
            logger.error("the sentinel died; starting another one, and workers with it")
            stop.wait(RESTART_SECONDS)
            try:
                cluster = _start_cluster()
            except RuntimeError as error:  # django-q2's, when the sentinel dies at its start
                logger.error("%s", error)  # noqa: TRY400 - the sentinel has told why
            else:
                supervisor.use(cluster.wake_ups.wake, cluster.worker_pids.read)
        _stop(cluster, supervisor)

    def _check(self) -> None:
        """Say in one line whether a cluster of this host lives; exit with 1 if not."""
        is_well, text = health.check_this_host()
        if is_well:
            self.stdout.write(text)
        elif self._called_from_command_line:  # type: ignore[attr-defined]  # Django's stubs
            self.stderr.write(f"jobcontrol: {text}")
            sys.exit(1)
        else:
            raise CommandError(text, returncode=1)


def _queues(given: list[str]) -> list[str]:
    """Return the names in what `--queue` was given. Raises InvalidRequest for what is no name."""
    names = [name.strip() for text in given for name in text.split(",")]
    for name in names:
        problem = queue_problem(name)
        if problem:
            raise InvalidRequest(f"--queue: the name of a queue {problem}.")
    if len(",".join(names)) > MAX_QUEUE:
        raise InvalidRequest(f"--queue: all names together have more than {MAX_QUEUE} characters.")
    return names


def _start_cluster() -> HealingCluster:
    # The sentinel and its workers must not inherit a connection.
    connections.close_all()
    # What exists by now stays for ever. A collection in a worker would write into each of these
    # objects, and so give every worker a copy of memory that they share since the fork.
    gc.collect()
    gc.freeze()
    cluster = HealingCluster()
    cluster.start()
    return cluster


def _wait_for_database(stop: Event) -> bool:
    """Wait until a database server answers; return whether it did before `stop` was set.

    Raises OperationalError for an SQLite file that can't be opened: that will not mend itself.
    """
    wait = 1.0
    while not stop.is_set():
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if connection.vendor == "sqlite":
                raise
            text = " ".join(str(error).split())
            logger.warning("waiting for the database (%s); next try in %gs", text, wait)
            stop.wait(wait)
            wait = min(wait * 2, MAX_BACKOFF_SECONDS)
        else:
            return True
    return False


def _stop(cluster: HealingCluster, supervisor: Supervisor) -> None:
    """Let running builds end, then interrupt them, then kill; each for a bounded time."""
    logger.info(
        "stopping: running builds may end for %gs (a second signal ends them at once)",
        settings.SHUTDOWN_SECONDS,
    )
    flags.stopping.set()
    cluster.ask_to_stop()
    if not _ended(cluster, supervisor, settings.SHUTDOWN_SECONDS):
        logger.warning("interrupting the builds that still run")
        flags.interrupting.set()
        if not _ended(cluster, supervisor, settings.GRACE_SECONDS):
            logger.error("killing the workers that still run")
    supervisor.stopped = workers.kill_children()
    supervisor.try_tick()  # closes what was killed
    supervisor.say_goodbye()


def _ended(cluster: HealingCluster, supervisor: Supervisor, seconds: float) -> bool:
    """Go on supervising for so long at most; return whether all workers ended before."""
    deadline = monotonic() + seconds
    while cluster.is_alive() and monotonic() < deadline:
        supervisor.try_tick()
        sleep(STOP_TICK_SECONDS)
    return not cluster.is_alive()


def _on_signals(stop: Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _end_at_once()
        signal.signal(signal.SIGALRM, too_late)
        times = settings.SHUTDOWN_SECONDS, settings.GRACE_SECONDS, SPARE_SECONDS
        signal.setitimer(signal.ITIMER_REAL, sum(times))
        stop.set()

    def too_late(_number: int, _frame: FrameType | None) -> None:
        logger.error("the stop takes too long: ending at once")
        _end_at_once()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _end_at_once() -> None:
    workers.kill_children()
    os._exit(1)
