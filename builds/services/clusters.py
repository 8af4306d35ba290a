"""Clusters that say that they live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from builds.database_time import seconds_ago
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobs.policies import DEFAULT_QUEUE

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A cluster is alive while its last word is younger than so many heartbeats, or seconds.
MISSED_BEATS = 3
LEAST_SECONDS = 15.0
KEPT_SECONDS = 24 * 3600.0


def beat_cluster(
    *,
    worker: WorkerIdentity,
    workers: int,
    trouble: str = "",
    queues: Sequence[str] = (DEFAULT_QUEUE,),
    processes: Sequence[dict[str, Any]] = (),
    draining: bool = False,
) -> None:
    """Record that the main process of a cluster lives, and what keeps it from working well.

    `queues` are those whose builds it runs; `processes` are its workers, as `workers.describe`
    tells them; `draining` says that they take nothing any more. Whether it is to be drained is not
    touched.
    """
    facts = {
        "last_seen": Now(),
        "workers": workers,
        "trouble": trouble,
        "queue": ",".join(queues),
        "processes": list(processes),
        "draining": draining,
    }
    Cluster.objects.update_or_create(
        identity=str(worker),
        defaults=facts,
        create_defaults={**facts, "host": worker.host, "pid": worker.pid},
    )


def drain_cluster(*, cluster: Cluster, requested_by: User | None = None) -> bool:
    """Ask the workers of a cluster to take nothing more; return whether that is new.

    What they run goes on. It lasts until `undrain_cluster`, or as long as the cluster lives.
    """
    taking = Cluster.objects.filter(pk=cluster.pk, drain_requested=None)
    # Its supervisor has to say anew that it heard of it.
    return bool(
        taking.update(drain_requested=Now(), drain_requested_by=requested_by, draining=False)
    )


def undrain_cluster(*, cluster: Cluster) -> bool:
    """Let the workers of a cluster take builds again; return whether they were not to."""
    drained = Cluster.objects.filter(pk=cluster.pk, drain_requested__isnull=False)
    return bool(drained.update(drain_requested=None, drain_requested_by=None, draining=False))


def is_to_drain(*, worker: WorkerIdentity) -> bool:
    """Whether the cluster with this main process was asked to take nothing more."""
    return Cluster.objects.filter(identity=str(worker), drain_requested__isnull=False).exists()


def end_cluster(*, worker: WorkerIdentity) -> None:
    """Take a cluster off the list when it stops, and those that never said so long ago."""
    Cluster.objects.filter(identity=str(worker)).delete()
    forget_dead_clusters()


def forget_dead_clusters() -> int:
    """Take those off the list that died long ago; return how many."""
    return Cluster.objects.filter(last_seen__lt=seconds_ago(KEPT_SECONDS)).delete()[0]


def live_clusters() -> QuerySet[Cluster]:
    """Return the clusters that lately said that they live."""
    return Cluster.objects.filter(last_seen__gte=seconds_ago(silence_allowed()))


def silence_allowed() -> float:
    """Return after how many seconds of silence a cluster does not count as alive."""
    return max(MISSED_BEATS * float(settings.HEARTBEAT_SECONDS), LEAST_SECONDS)
