"""Clusters with what their workers do now: for the workers page, the API and commands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from django.db.models import QuerySet
from django.db.models.functions import Now

from builds import services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity

State = Literal["active", "draining", "drained", "lost"]


@dataclass(frozen=True)
class Worker:
    """One worker process, as its cluster described it last, and what it runs now.

    A build that runs another one in its own process has that beside it.
    """

    pid: int
    since: datetime | None
    memory: int | None
    builds: tuple[Build, ...]
    deletions: tuple[Deletion, ...]

    @property
    def is_busy(self) -> bool:
        """Whether it runs anything."""
        return bool(self.builds or self.deletions)


@dataclass(frozen=True)
class Crew:
    """A cluster and its workers. Of one that is lost only those with a build are left."""

    cluster: Cluster
    is_alive: bool
    workers: tuple[Worker, ...]

    @property
    def busy(self) -> int:
        """How many workers run something."""
        return sum(worker.is_busy for worker in self.workers)

    @property
    def state(self) -> State:
        """Whether it takes builds; `drained` is one that takes none and runs none."""
        if not self.is_alive:
            return "lost"
        if self.cluster.drain_requested is None:
            return "active"
        return "drained" if self.cluster.draining and not self.busy else "draining"


def with_now(clusters: QuerySet[Cluster]) -> QuerySet[Cluster]:
    """Have the clusters bring the database's time, which `crews` needs."""
    return clusters.select_related("drain_requested_by").annotate(now=Now())


def is_alive(cluster: Cluster) -> bool:
    """Whether a cluster, which comes `with_now`, was heard of lately."""
    now: datetime = cast("Any", cluster).now
    return (now - cluster.last_seen).total_seconds() < services.silence_allowed()


def crews(clusters: Iterable[Cluster], *, running: Iterable[Build] | None = None) -> list[Crew]:
    """Return each of the clusters, which come `with_now`, in two queries whatever their number.

    In none where all `running` builds were looked up already; what workers delete is then left out.
    They stay in their order, but for those of a host that are lost: they come after its others.
    """
    described = [(cluster, _identities(cluster)) for cluster in clusters]
    names = [name for _, found in described for name in found]
    builds: dict[str, list[Build]] = defaultdict(list)
    deletions: dict[str, list[Deletion]] = defaultdict(list)
    if names:
        for build in _running(names) if running is None else running:
            builds[build.worker].append(build)
    if names and running is None:
        going_on = Deletion.objects.filter(state=Deletion.State.RUNNING, worker__in=names)
        for deletion in going_on.select_related("job").defer("log", "traceback"):
            deletions[deletion.worker].append(deletion)
    every = [_crew(cluster, found, builds, deletions) for cluster, found in described]
    hosts = {host: at for at, host in enumerate(dict.fromkeys(crew.cluster.host for crew in every))}
    return sorted(every, key=lambda crew: (hosts[crew.cluster.host], not crew.is_alive))


def _running(names: Sequence[str]) -> Iterable[Build]:
    running = Build.objects.running().filter(worker__in=names).select_related("job")
    return running.order_by("start_time", "id").defer("exception_message")


def builds_in_place(most: int) -> list[Build]:
    """Return builds that run in a process of no cluster: of a command or a shell; so many at most.

    Those that another build runs are not among them.
    """
    found = Build.objects.running().filter(in_place=True).exclude(trigger=Build.Trigger.NESTED)
    return list(found.select_related("job").order_by("id").defer("exception_message")[:most])


def _crew(
    cluster: Cluster,
    identities: Sequence[str],
    builds: dict[str, list[Build]],
    deletions: dict[str, list[Deletion]],
) -> Crew:
    is_there = is_alive(cluster)
    workers = [
        Worker(
            pid=process["pid"],
            since=_since(cluster, process.get("seconds")),
            memory=process.get("memory") if is_there else None,
            builds=tuple(builds.get(name, ())),
            deletions=tuple(deletions.get(name, ())),
        )
        for process, name in zip(cluster.processes, identities, strict=True)
    ]
    return Crew(cluster, is_there, tuple(one for one in workers if is_there or one.is_busy))


def _identities(cluster: Cluster) -> list[str]:
    main = WorkerIdentity.parse(cluster.identity)
    if main is None:
        return ["" for _ in cluster.processes]
    return [
        str(WorkerIdentity(main.host, main.host_id, process["pid"], process["started"]))
        for process in cluster.processes
    ]


def _since(cluster: Cluster, seconds: int | None) -> datetime | None:
    """Return when a worker began, in the time of the database."""
    return None if seconds is None else cluster.last_seen - timedelta(seconds=seconds)
