"""Clusters that said that they live, for tests that look at them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from builds import services
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity

MAIN_PID = 400


def main_of(host: str = "far", pid: int = MAIN_PID) -> WorkerIdentity:
    """The main process of a cluster."""
    return WorkerIdentity(host, "0123456789ab", pid, "77")


def worker_of(main: WorkerIdentity, number: int = 1) -> WorkerIdentity:
    """One of its workers."""
    return WorkerIdentity(main.host, main.host_id, main.pid + number, f"8{number}")


def beating(host: str = "far", pid: int = MAIN_PID, workers: int = 2, **facts: Any) -> Cluster:
    """A cluster that has just said that it lives."""
    main = main_of(host, pid)
    processes = [
        {"pid": one.pid, "started": one.started, "seconds": 90, "memory": 50 * 1024**2}
        for one in (worker_of(main, number) for number in range(1, workers + 1))
    ]
    services.beat_cluster(worker=main, workers=workers, processes=processes, **facts)
    return Cluster.objects.get(pk=str(main))


def silence(cluster: Cluster, **time: float) -> None:
    """Have a cluster last been heard of so long ago."""
    Cluster.objects.filter(pk=cluster.pk).update(last_seen=Now() - timedelta(**time))
