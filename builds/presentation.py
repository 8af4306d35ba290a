"""The JSON shapes of jobs, builds, plans and log lines: the same for commands and API."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Left, Length

from builds import planning
from builds.crews import Crew
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.pages.schedule import next_times, paused_jobs
from builds.plan_models import Plan
from builds.plan_status import PlanStatus, status_of
from builds.progress import read_paths
from builds.reading import read_together
from builds.services import current_builds
from builds.status import JobStatus, reason
from builds.waiting import reasons
from jobcontrol.utils import ProgressReport, TracebackInfo
from jobs.models import Job, JobDependency

Json = dict[str, Any]


def job_summary(job: Job, status: JobStatus) -> Json:
    """Return one row of the job list."""
    return {
        "id": job.pk,
        "title": job.title,
        "status": status.status,
        "stale_reasons": list(status.stale_reasons),
        "running": status.running,
        "tags": list(job.tags),
        "protected": job.protected,
        "dependencies": list(status.dependencies),
        "problem": job.problem,
    }


def job_detail(job: Job, status: JobStatus, *, with_build: bool = True) -> Json:
    """Return a job with its call, notes, neighbours, next runs and, `with_build`, latest success.

    `args` and `kwargs` are as the file has them; values that JSON can't hold, secrets and return
    values of other jobs stand as tagged values (see `jobs.tags`).
    """
    number = status.latest_successful_build_id
    latest = Build.objects.filter(pk=number).first() if number and with_build else None
    is_paused = bool(paused_jobs([job]))
    users = JobDependency.objects.filter(depends_on=job, job__retired=False)
    return {
        **job_summary(job, status),
        "function": job.function,
        "args": job.config.get("args") or [],
        "kwargs": job.config.get("kwargs") or {},
        "notes": job.notes,
        "reverse_dependencies": list(
            users.order_by("job__position", "job_id").values_list("job_id", flat=True)
        ),
        "latest_successful_build": build_detail(latest) if latest else None,
        "schedule_paused": is_paused,
        "next_runs": [] if is_paused else [iso(due) for due, _ in next_times(job)],
    }


def build_detail(build: Build) -> Json:
    """Return one build."""
    return read_together(build, lambda found: build_rows([found])[0])


def build_rows(
    builds: Iterable[Build] | QuerySet[Build], *, retval_chars: int | None = None
) -> list[Json]:
    """Return builds in the given order, in a bounded number of queries.

    `retval_chars` cuts return values that are longer, and says so at their end.
    """
    found = list(builds)
    ids = [build.pk for build in found]
    texts = _retval_texts(ids, retval_chars)
    inputs = inputs_of(ids)
    trees = progress_trees(found)
    waits = reasons(found)
    return [
        build_row(
            build,
            retval=texts.get(build.pk, ""),
            inputs=inputs.get(build.pk, {}),
            progress=trees[build.pk],
            waits_for=waits.get(build.pk),
        )
        for build in found
    ]


def inputs_of(numbers: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return the builds that these builds use, by job, in one query."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    links = BuildDependency.objects.filter(build__in=numbers).order_by("pk")
    for number, job_id, used in links.values_list("build_id", "job_id", "dep_build_number"):
        found[number][job_id] = used
    return found


def _retval_texts(ids: list[int], limit: int | None) -> dict[int, str]:
    payloads = BuildPayload.objects.filter(build__in=ids)
    if limit is None:
        return dict(payloads.values_list("build_id", "retval_text"))
    rows = payloads.annotate(start=Left("retval_text", limit), length=Length("retval_text"))
    return {
        number: f"{start}… [{length - limit} characters cut]" if length > limit else start
        for number, start, length in rows.values_list("build_id", "start", "length")
    }


def build_row(
    build: Build,
    *,
    retval: str,
    inputs: dict[str, int],
    progress: ProgressReport,
    waits_for: str | None,
) -> Json:
    """Return one build from its parts."""
    failed = build.finished and not build.success
    return {
        "id": build.pk,
        "job_id": build.job_id,
        "status": build.status,
        "started": build.started,
        "finished": build.finished,
        "success": build.success,
        "skipped": build.skipped,
        "start_time": iso(build.start_time),
        "end_time": iso(build.end_time),
        "retval": retval if build.status == Build.Status.SUCCESSFUL else None,
        "exception": (reason(build) or None) if failed else None,
        "failure_kind": build.failure_kind or None,
        "attempt": build.attempt,
        "retry_of": build.retry_of_id,
        "cancel_requested": iso(build.cancel_requested),
        "waits_for": waits_for,
        "dependency_builds": inputs,
        "plan": build.plan_id,
        "plan_reason": build.plan_reason,
        "progress": progress.to_json(),
    }


def progress_trees(builds: Iterable[Build]) -> dict[int, ProgressReport]:
    """Return the progress tree of each build by its id, in one query."""
    tables: dict[int, list[tuple[Any, int, int, str]]] = {build.pk: [] for build in builds}
    stored = BuildProgress.objects.filter(build__in=list(tables)).order_by("build_id", "position")
    columns = ("build_id", "group_name", "current", "total", "status_line")
    rows = list(stored.values_list(*columns))
    paths = read_paths(row[1] for row in rows)
    for path, (number, _, current, total, line) in zip(paths, rows, strict=True):
        tables[number].append((path, current, total, line))
    return {number: ProgressReport.from_table(table) for number, table in tables.items()}


# --- Plans ----------------------------------------------------------------------------------------


def plan_preview(plan: planning.Plan) -> Json:
    """Return what would be built, used as it is, and not be built, each with its reason.

    An input of a build is the number of the build that is used, None for one of the plan itself.
    """
    return {
        "builds": [
            {
                "job_id": build.job_id,
                "reason": build.reason,
                "protected": build.protected,
                "inputs": dict(build.inputs),
            }
            for build in plan.builds
        ],
        "reused": [
            {"job_id": one.job_id, "build_id": one.build_id, "reason": one.reason}
            for one in plan.reused
        ],
        "blocked": [{"job_id": one.job_id, "reason": one.reason} for one in plan.blocked],
    }


def plan_detail(plan: Plan) -> Json:
    """Return a plan: where it stands, and its builds in order, a retry in place of what failed."""
    builds = current_builds(plan)
    inputs = inputs_of([build.pk for build in builds])
    follower = plan.resumed_by.order_by("pk").values_list("pk", flat=True).first()
    return {
        "id": plan.pk,
        "job_id": plan.job_id,
        "state": status_of(builds).state,
        "requested_by": plan.requested_by.get_username() if plan.requested_by else None,
        "created": iso(plan.created),
        "resumes": plan.resumes_id,
        "resumed_by": follower,
        "builds": [
            {
                "id": build.pk,
                "job_id": build.job_id,
                "status": build.status,
                "reason": build.plan_reason,
                "attempt": build.attempt,
                "failure_kind": build.failure_kind or None,
                "start_time": iso(build.start_time),
                "end_time": iso(build.end_time),
                "inputs": inputs.get(build.pk, {}),
            }
            for build in builds
        ],
    }


def plan_rows(plans: Iterable[Plan], statuses: Mapping[int, PlanStatus]) -> list[Json]:
    """Return one row of the list of plans each; `builds` is how many it has."""
    return [
        {
            "id": plan.pk,
            "job_id": plan.job_id,
            "state": statuses[plan.pk].state,
            "builds": statuses[plan.pk].total,
            "requested_by": plan.requested_by.get_username() if plan.requested_by else None,
            "created": iso(plan.created),
            "resumes": plan.resumes_id,
        }
        for plan in plans
    ]


def plan_progress(plan: Plan) -> ProgressReport:
    """Return how far a plan is, and below it the progress of each build that runs."""
    builds = current_builds(plan)
    ended = [build for build in builds if build.finished]
    trees = progress_trees(build for build in builds if build.status == Build.Status.RUNNING)
    bars = [
        ProgressReport(
            f"#{build.pk} {build.job_id}",
            trees[build.pk].current,
            trees[build.pk].total,
            trees[build.pk].status_line,
            trees[build.pk].children,
        )
        for build in builds
        if build.pk in trees
    ]
    line = f"{len(ended)} of {len(builds)} builds"
    return ProgressReport(None, len(ended), len(builds), line, bars)


def log_line(message: LogMessage) -> Json:
    """Return one line of a build's log."""
    return {
        "id": message.pk,
        "build_id": message.build_id,
        "created": iso(message.created),
        "level": logging.getLevelName(message.level),
        "logger": message.logger,
        "message": message.message,
        "place": message.place,
        "origin": message.origin,
        "exception": message.exception,
    }


def deletion_detail(deletion: Deletion) -> Json:
    """Return a deletion: where it stands and how the cleanup went."""
    failure = TracebackInfo.from_json(deletion.traceback) if deletion.traceback else None
    return {
        "id": deletion.pk,
        "build_id": deletion.build_number,
        "job_id": deletion.job_id,
        "state": deletion.state,
        "outcome": deletion.outcome or None,
        "cleanup": deletion.cleanup,
        "cleanup_function": deletion.cleanup_function,
        "requested_by": deletion.requested_by.get_username() if deletion.requested_by else None,
        "created": iso(deletion.created),
        "ended": iso(deletion.ended),
        "log": deletion.log,
        "exception": failure.final_line if failure else None,
    }


def crew_row(crew: Crew) -> Json:
    """Return a cluster with its workers and what they run."""
    cluster = crew.cluster
    asking = cluster.drain_requested_by
    return {
        "id": cluster.pk,
        "host": cluster.host,
        "pid": cluster.pid,
        "queue": cluster.queue,
        "state": crew.state,
        "workers": cluster.workers,
        "busy": crew.busy,
        "started": iso(cluster.started),
        "last_seen": iso(cluster.last_seen),
        "trouble": cluster.trouble,
        "drain_requested": iso(cluster.drain_requested),
        "drain_requested_by": asking.get_username() if asking else None,
        "processes": [
            {
                "pid": worker.pid,
                "started": iso(worker.since),
                "memory": worker.memory,
                "builds": [
                    {"id": one.pk, "job_id": one.job_id, "start_time": iso(one.start_time)}
                    for one in worker.builds
                ],
                "deletions": [one.build_number for one in worker.deletions],
            }
            for worker in crew.workers
        ],
    }


def iso(moment: datetime | None) -> str | None:
    """Return the moment in ISO 8601 with its zone (UTC)."""
    return moment.astimezone(UTC).isoformat() if moment else None
