"""What a page shows, as a short text: another one whenever the page would look different.

Read by a few cheap queries, while the page is open and mostly nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from django.db.models import Count, Max, Subquery
from django.utils import timezone

from builds import context_processors
from builds.deletion_models import Deletion
from builds.models import Build
from builds.pages.glance import Glance
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun
from builds.status import JobStatus
from builds.waiting import reasons
from jobs.models import ConfigRevision, Job

BUILDS_READ = 50
UNFINISHED_READ = 1_000
QUEUED_READ = 100  # of a plan: those of a page of its table, mostly
DELETIONS_READ = 100  # the newest
# Heartbeats are shown, but no reason to make the page anew each time.
HEARTBEAT_STEP = 10


def stamp_of(*facts: object) -> str:
    """Return a short text that is another one when any of the facts is."""
    return sha256(repr(facts).encode()).hexdigest()[:20]


def build_stamp(build: Build, around: Glance, waits_for: str) -> str:
    """Return the stamp of a build's page."""
    facts: list[object] = [
        *(build.status, build.end_time, build.keep, build.deleting, build.cancel_requested),
        *(build.not_before, build.worker),
        *(around.deletion, around.deletion_state, around.retry),
    ]
    if build.started:
        # New lines of its log come by themselves (see log.js).
        facts.append(around.moved)
    else:
        facts.append(waits_for)
    if build.heartbeat and not build.finished:
        facts.append(int(build.heartbeat.timestamp()) // HEARTBEAT_STEP)
    return stamp_of(*facts)


def plan_stamp(plan: Plan, followers: Iterable[Plan]) -> str:
    """Return the stamp of a plan's page; what its queued builds wait for stands there, too."""
    newest = (Max(name) for name in ("pk", "start_time", "end_time", "cancel_requested"))
    builds = plan.builds.order_by("status").values_list("status").annotate(Count("pk"), *newest)
    return stamp_of(list(builds), [one.pk for one in followers], _why_queued(plan))


def _why_queued(plan: Plan) -> dict[int, str]:
    columns = ("plan", "job", "status", "queue", "not_before", "deleting", "in_place")
    rows = plan.builds.queued().select_related("job").only(*columns, "job__concurrency")
    queued = list(rows.order_by("pk")[:QUEUED_READ])
    limits = {build.job_id: build.job.concurrency for build in queued}
    return reasons(queued, limits, context_processors.live_clusters())


def job_stamp(
    job: Job,
    statuses: Mapping[str, JobStatus],
    newest: Iterable[Build],
    last_runs: Sequence[ScheduledRun],
    *,
    waits: Mapping[int, str],
    nobody_serves: str,
) -> str:
    """Return the stamp of a job's page; the job comes with its `schedule_pause`.

    `statuses` are those of the job and of its neighbours, which the page shows beside it; `waits`
    says what its builds wait for that have not begun, `nobody_serves` that no worker takes them.
    """
    status = statuses[job.pk]
    columns = ("pk", "status", "start_time", "end_time", "cancel_requested", "deleting", "keep")
    builds = [[getattr(build, name) for name in columns] for build in newest]
    facts: list[object] = [builds, status.status, status.stale_reasons, status.missing]
    facts += [job.synced_at, job.problem, job.retired]
    shown = ((one.status, one.running, bool(one.unfinished)) for one in statuses.values())
    facts += [list(zip(statuses, shown, strict=True)), waits, nobody_serves]
    if job.schedules:
        facts.append([(run.pk, run.state) for run in last_runs])
        facts.append(hasattr(job, "schedule_pause"))
    return stamp_of(*facts)


def grid_stamp(jobs: Iterable[Job], builds: Mapping[str, Iterable[Build]]) -> str:
    """Return the stamp of the grid, from what is looked up for it anyway.

    Whether a job is outdated may follow from jobs on other pages: from their newest success, the
    file, or a success that was deleted.
    """
    facts: list[object] = [(job.pk, job.config_hash, job.retired) for job in jobs]
    for name, own in builds.items():
        facts.append([name, *((one.pk, one.status, one.start_time, one.end_time) for one in own)])
    deletions = Deletion.objects.order_by("-pk").values_list("pk", "state")
    facts += [_newest_of_all(), list(deletions[:DELETIONS_READ])]
    return stamp_of(*facts)


def _newest_of_all() -> object:
    """Return the newest revision and success, in one query.

    Where there is no revision of the file there is no job, and so nothing else.
    """
    success = Subquery(Build.objects.successful().newest_first().values("pk")[:1])
    return ConfigRevision.objects.order_by("-pk").values_list("pk", success).first()


def jobs_stamp() -> str:
    """Return the stamp of a page that shows where all jobs stand, by steps into indexes.

    Once in a minute it is another one anyway: what it does not look at is shown a little later.
    """
    unfinished = Build.objects.filter(status__in=Build.UNFINISHED).order_by()
    builds = Build.objects.newest_first().values_list("pk", "status")
    facts: list[object] = [
        timezone.now().timestamp() // 60,
        sorted(unfinished.values_list("pk", "status")[:UNFINISHED_READ]),
        list(builds[:BUILDS_READ]),
        Deletion.objects.order_by("-pk").values_list("pk", "state").first(),
        Job.objects.aggregate(Max("synced_at"), Count("pk")),
    ]
    return stamp_of(*facts)
