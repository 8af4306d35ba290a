"""Clusters that say that they live."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from builds.database_time import seconds_ago
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobs.policies import DEFAULT_QUEUE

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
) -> None:
    """Record that the main process of a cluster lives, and what keeps it from working well.

    `queues` are those whose builds it runs.
    """
    facts = {"last_seen": Now(), "workers": workers, "trouble": trouble, "queue": ",".join(queues)}
    Cluster.objects.update_or_create(
        identity=str(worker),
        defaults=facts,
        create_defaults={**facts, "host": worker.host, "pid": worker.pid},
    )


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
