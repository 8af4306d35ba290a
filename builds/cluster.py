"""django-q2's cluster, as our `qcluster` runs it: only its main process acts on signals.

A service manager sends SIGTERM to every process of a service at once. django-q2's sentinel would
die of it and leave its workers behind; a worker would cut its build off. So both take no notice,
and the main process tells the sentinel to stop.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import django_q.cluster
from django_q.cluster import Cluster, Sentinel


def _take_no_notice(_number: int, _frame: FrameType | None) -> None:
    """Stand in for SIG_IGN, which the programs that a job starts would inherit."""


class QuietSentinel(Sentinel):
    """The sentinel, and by inheritance its workers, without the default action of SIGTERM."""

    def start(self) -> None:
        """Start the workers."""
        signal.signal(signal.SIGTERM, _take_no_notice)
        super().start()  # type: ignore[no-untyped-call]


class QuietCluster(Cluster):
    """A cluster with our sentinel."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Where `Cluster.start` looks it up; django-q2 has no setting for it.
        django_q.cluster.Sentinel = QuietSentinel  # type: ignore[misc]
