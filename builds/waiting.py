"""What the builds that have not begun wait for, in words: for a whole page in four queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count
from django.utils import timezone

from builds import services
from builds.models import Build, BuildDependency
from builds.upkeep_models import Cluster
from jobs.models import Job
from jobs.policies import DEFAULT_QUEUE

INPUTS_NAMED = 3
NOT_ASKED = "not asked to run yet"
IN_PLACE = "its turn comes where its plan runs"

Status = Build.Status


def reasons(
    builds: Iterable[Build],
    limits: Mapping[str, int | None] | None = None,
    clusters: Sequence[Cluster] | None = None,
) -> dict[int, str]:
    """Return what each of `builds` that has not begun waits for, by its number.

    `limits` are the `concurrency` of their jobs, `clusters` those that live: where these are known.
    """
    found = [build for build in builds if build.status in Build.UNSTARTED]
    texts = {
        build.pk: IN_PLACE if build.in_place else NOT_ASKED
        for build in found
        if build.status == Status.CREATED
    }
    texts |= inputs_awaited([build.pk for build in found if build.status == Status.WAITING])
    queued = [build for build in found if build.status == Status.QUEUED]
    if queued:
        if limits is None:
            jobs = Job.objects.filter(pk__in={build.job_id for build in queued})
            limits = dict(jobs.exclude(concurrency=None).values_list("pk", "concurrency"))
        site = Site.now(clusters)
        texts |= {build.pk: why_queued(build, limits.get(build.job_id), site) for build in queued}
    return texts


def unserved(name: str, clusters: Sequence[Cluster] | None = None) -> str:
    """Say that no live cluster serves a queue, and how to start one; "" when one does."""
    return _nobody_serves(name, list(services.live_clusters()) if clusters is None else clusters)


@dataclass(frozen=True)
class Site:
    """Who works, and what runs: all that decides when a queued build begins."""

    clusters: Sequence[Cluster]
    by_job: dict[str, int]  # running builds
    by_queue: dict[str, int]  # those of them that keep a worker busy
    time: datetime

    @classmethod
    def now(cls, clusters: Sequence[Cluster] | None = None) -> Site:
        """Look at the database; `clusters` are those that live, where they are known."""
        by_job: dict[str, int] = defaultdict(int)
        by_queue: dict[str, int] = defaultdict(int)
        running = Build.objects.running().order_by().values_list("job_id", "queue", "in_place")
        for job_id, name, in_place, count in running.annotate(count=Count("pk")):
            by_job[job_id] += count
            by_queue[name] += 0 if in_place else count
        alive = list(services.live_clusters()) if clusters is None else clusters
        return cls(alive, by_job, by_queue, timezone.now())


def why_queued(build: Build, limit: int | None, site: Site) -> str:
    """Say what a queued build waits for; `limit` is the `concurrency` of its job."""
    if build.deleting:
        return "it is being deleted"
    if build.not_before is not None and build.not_before > site.time:
        return _until(build.not_before, site.time)
    nobody = _nobody_serves(build.queue, site.clusters)
    if nobody:
        return nobody
    running = site.by_job.get(build.job_id, 0)
    if limit is not None and running >= limit:
        verb = "build of {} runs" if running == 1 else "builds of {} run"
        return f"{running} {verb.format(build.job_id)} already (concurrency: {limit})"
    return _workers(build.queue, site)


def _until(due: datetime, now: datetime) -> str:
    local, left = timezone.localtime(due), (due - now).total_seconds()
    form = "%H:%M:%S" if local.date() == timezone.localtime(now).date() else "%Y-%m-%d %H:%M:%S"
    return f"until {local.strftime(form)} (in {spoken(left)})"


def spoken(seconds: float) -> str:
    """Return about how long so many seconds are."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _nobody_serves(name: str, clusters: Sequence[Cluster]) -> str:
    command = "jobcontrol-cli worker" + ("" if name == DEFAULT_QUEUE else f" --queue {name}")
    if not clusters:
        return f"no cluster is alive: start one with '{command}'"
    serving = [cluster for cluster in clusters if name in cluster.queues]
    if not serving:
        return f"no live cluster serves the queue '{name}': start one with '{command}'"
    if all(cluster.drain_requested for cluster in serving):
        return f"all clusters that serve the queue '{name}' are drained"
    return ""


def _workers(name: str, site: Site) -> str:
    """Say whether a worker is free, of those that may take builds of the queue."""
    serving = [one for one in site.clusters if name in one.queues and not one.drain_requested]
    workers = sum(cluster.workers for cluster in serving)
    served = {queue for cluster in serving for queue in cluster.queues}
    free = workers - sum(site.by_queue.get(queue, 0) for queue in served)
    # Others may be idle beside them.
    of_it = "" if name == DEFAULT_QUEUE else f" for the queue '{name}'"
    if free <= 0:
        if workers == 1:
            return f"the only worker{of_it} is busy"
        return f"all {workers} workers{of_it} are busy"
    verb = "is" if free == 1 else "are"
    return f"{free} of {workers} workers{of_it} {verb} free for the next in line"


def inputs_awaited(numbers: Sequence[int]) -> dict[int, str]:
    """Name the builds that others wait for, in one query."""
    if not numbers:
        return {}
    links = BuildDependency.objects.filter(
        build__in=numbers, dep_build__status__in=[*Build.UNSTARTED, Status.RUNNING]
    ).order_by("pk")
    needed: dict[int, list[str]] = {number: [] for number in numbers}
    for number, used, job_id, status in links.values_list(
        "build_id", "dep_build_id", "job_id", "dep_build__status"
    ):
        needed[number].append(f"build #{used} of {job_id} ({Status(status).label})")
    return {number: _for(texts) for number, texts in needed.items()}


def _for(texts: Sequence[str]) -> str:
    if not texts:
        return "all that it needs has ended: it is about to be queued"
    more = len(texts) - INPUTS_NAMED
    named = ", ".join(texts[:INPUTS_NAMED])
    return f"for {named} and {more} more" if more > 0 else f"for {named}"
