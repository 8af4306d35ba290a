"""What a page shows, as a short text: another one whenever the page would look different.

Read by a few cheap queries, while the page is open and mostly nothing happens.
"""

from __future__ import annotations

from hashlib import sha256

from django.db.models import Count, Max

from builds.models import Build, BuildProgress, Deletion, LogMessage
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun, SchedulePause
from builds.status import job_statuses
from builds.waiting import reasons
from jobs.models import Job

RUNNING_SECONDS = 2.0  # between two looks at what runs
WAITING_SECONDS = 3.0
QUIET_SECONDS = 10.0  # where something may begin at any time
LARGE_PLAN = 200  # builds, whose page takes longer to make
BUILDS_READ = 50
# Heartbeats are shown, but no reason to make the page anew each time.
HEARTBEAT_STEP = 10


def stamp_of(*facts: object) -> str:
    """Return a short text that is another one when any of the facts is."""
    return sha256(repr(facts).encode()).hexdigest()[:20]


def build_stamp(build: Build) -> tuple[str, float]:
    """Return the stamp of a build's page, and after how many seconds to look again; 0 for never."""
    deletions = Deletion.objects.filter(build_number=build.pk, job=build.job_id).order_by("-pk")
    deletion = deletions.values_list("pk", "state").first()
    is_going = deletion is not None and deletion[1] in (
        Deletion.State.WAITING,
        Deletion.State.RUNNING,
    )
    facts: list[object] = [
        *(build.status, build.end_time, build.keep, build.deleting, build.cancel_requested),
        *(build.not_before, build.worker, deletion),
        build.retries.aggregate(newest=Max("pk")),
    ]
    if build.started:
        newest = LogMessage.objects.filter(build=build).order_by("-pk").values_list("pk").first()
        facts += [newest, BuildProgress.objects.filter(build=build).aggregate(Max("updated"))]
    if build.heartbeat and not build.finished:
        facts.append(int(build.heartbeat.timestamp()) // HEARTBEAT_STEP)
    if not build.started:
        facts.append(reasons([build]).get(build.pk))
    if build.finished:
        return stamp_of(*facts), WAITING_SECONDS if is_going else 0
    return stamp_of(*facts), RUNNING_SECONDS if build.started else WAITING_SECONDS


def plan_stamp(plan: Plan) -> tuple[str, float]:
    """Return the stamp of a plan's page, and after how many seconds to look again."""
    counts = list(plan.builds.values("status").annotate(count=Count("pk")).order_by("status"))
    rest = plan.builds.aggregate(
        Max("pk"), Max("start_time"), Max("end_time"), Max("cancel_requested")
    )
    follower = plan.resumed_by.order_by("-pk").values_list("pk").first()
    unfinished = any(one["status"] in Build.UNFINISHED for one in counts)
    total = sum(one["count"] for one in counts)
    seconds = QUIET_SECONDS if total > LARGE_PLAN else RUNNING_SECONDS
    return stamp_of(counts, rest, follower), seconds if unfinished else 0


def job_stamp(job: Job) -> tuple[str, float]:
    """Return the stamp of a job's page, and after how many seconds to look again."""
    own = Build.objects.filter(job=job).newest_first()
    columns = ("pk", "status", "start_time", "end_time", "cancel_requested", "deleting", "keep")
    builds = list(own.values_list(*columns)[:BUILDS_READ])
    status = job_statuses([job])[job.pk]
    facts: list[object] = [builds, status.status, status.stale_reasons, status.missing]
    facts += [job.synced_at, job.problem, job.retired]
    if job.schedules:
        runs = ScheduledRun.objects.filter(job=job).exclude(state=ScheduledRun.State.PLANNED)
        facts.append(runs.values_list("pk", "state").first())
        facts.append(SchedulePause.objects.filter(job=job).values_list("pk").first())
    is_busy = any(status in Build.UNFINISHED for _, status, *_ in builds)
    return stamp_of(*facts), WAITING_SECONDS if is_busy else QUIET_SECONDS
