"""`qcluster`: django-q2's cluster, with our supervisor in its main process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from argparse import ArgumentParser
from threading import Event
from types import FrameType
from typing import Any

import psutil
from django.conf import settings
from django.db import connections

from builds.cluster import QuietCluster
from builds.models import Build
from builds.supervisor import Supervisor
from jobcontrol_site.commands import Command as BaseCommand
from jobs import registry

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """Runs builds: worker processes, and the loop that watches over them."""

    help = "Start workers that run builds, and the supervisor that watches over them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take no argument of django-q2's: the queue is one."""

    def run(self, **_options: Any) -> None:
        """Run until SIGTERM or SIGINT, then let running builds end; a second signal ends at once.

        Builds that were cut off are closed as worker_lost by the next supervisor that looks.
        """
        registry.ensure_current(recheck_problems=True)
        # Says in one line that there are no tables; the pusher would say it for ever.
        Build.objects.exists()
        # The sentinel and its workers must not inherit a connection.
        connections.close_all()
        stop = Event()
        cluster = QuietCluster()
        _on_signals(stop)
        cluster.start()
        logger.info("%s workers are ready (stop with Ctrl-C)", settings.WORKERS)
        sentinel = cluster.sentinel
        assert sentinel is not None
        Supervisor(stop, sentinel.is_alive).run()
        if not stop.is_set():
            sys.exit("jobcontrol: the cluster ended by itself; see the lines above.")
        logger.info("stopping: running builds are let end (a second signal ends them)")
        cluster.stop()


def _on_signals(stop: Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _end_at_once()
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _end_at_once() -> None:
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(1)
