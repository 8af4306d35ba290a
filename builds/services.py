"""Every change of a build's state: the admin, the API, commands, schedules and workers come here.

Lease arithmetic is in database time throughout (`Now()`), so that clocks of hosts may differ.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Max, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from builds import bulk, logs, progress, queue
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.status import pinned_builds
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import (
    BuildStateError,
    InvalidRequest,
    LeaseLost,
    MissingDependencies,
    ProtectedJob,
)
from jobs.models import ConfigRevision, Job, JobDependency

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from builds.sessions import BuildSession

logger = logging.getLogger(__name__)

Status = Build.Status


@dataclass(frozen=True)
class Outcome:
    """How a build ended; every text is redacted and cleaned already."""

    status: Build.Status
    retval: bytes | None = None
    retval_text: str = ""
    failure_kind: str = ""
    exception_type: str = ""
    exception_message: str = ""
    traceback: dict[str, Any] | None = None
    log_level: int = field(default=logging.INFO)
    log_line: str = ""


# --- Asking for builds ----------------------------------------------------------------------------


def create_build(*, job: Job, trigger: str, requested_by: User | None = None) -> Build:
    """Record a build with its inputs pinned, not yet asked to run (CREATED).

    Raises InvalidRequest for a retired job or a pin that can't be used, MissingDependencies
    naming every dependency without a successful build.
    """
    if job.retired:
        raise InvalidRequest(
            f"job {job.id!r} is no longer in the configuration file and can't be built."
        )
    with transaction.atomic():
        inputs = _pinned_inputs(job)
        build = Build.objects.create(
            job=job,
            status=Status.CREATED,
            trigger=trigger,
            requested_by=requested_by,
            priority=job.priority,
            config_revision_id=ConfigRevision.objects.values_list("pk", flat=True).first(),
        )
        BuildPayload.objects.create(build=build, config=job.config, config_text=job.config_text)
        BuildDependency.objects.bulk_create(
            BuildDependency(
                build=build, job_id=job_id, dep_build_id=number, dep_build_number=number
            )
            for job_id, number in inputs.items()
        )
    return build


def request_build(
    *, job: Job, trigger: str, requested_by: User | None = None, arm: bool = False
) -> Build:
    """Record a build that a worker is to run (QUEUED), and wake one when this is committed.

    Raises ProtectedJob unless a protected job is armed, and what `create_build` raises.
    """
    refuse_unarmed(job=job, arm=arm)
    with transaction.atomic():
        build = create_build(job=job, trigger=trigger, requested_by=requested_by)
        return queue_build(build=build, arm=arm)


def queue_build(*, build: Build, arm: bool = False) -> Build:
    """Hand a CREATED build to the workers.

    Raises ProtectedJob as `request_build`, BuildStateError when it was started or queued before.
    """
    refuse_unarmed(job=build.job, arm=arm)
    changed = Build.objects.filter(pk=build.pk, status=Status.CREATED).update(
        status=Status.QUEUED, armed=build.job.protected
    )
    if not changed:
        raise BuildStateError(f"build #{build.pk} was queued or started before.")
    build.status = Status.QUEUED
    build.armed = build.job.protected
    transaction.on_commit(queue.wake)
    return build


def refuse_unarmed(*, job: Job, arm: bool) -> None:
    """Raise ProtectedJob when the job is protected and the request does not arm it."""
    if job.protected and not arm:
        raise ProtectedJob(job.id)


def why_not_buildable(job: Job) -> str:
    """Return why the job can't be built now, in words; empty when it can."""
    if job.retired:
        return f"job {job.id!r} is no longer in the configuration file."
    try:
        _pinned_inputs(job)
    except (MissingDependencies, InvalidRequest) as error:
        return str(error)
    return ""


def latest_successful_builds(job_ids: Iterable[str]) -> dict[str, int]:
    """Return the newest successful, not skipped build of each job that has one."""
    found = (
        Build.objects.successful()
        .filter(job_id__in=list(job_ids))
        .order_by()
        .values_list("job_id")
        .annotate(newest=Max("id"))
    )
    return dict(found)


def _pinned_inputs(job: Job) -> dict[str, int]:
    """Return the build to use for each dependency: pinned in the file, else the latest success."""
    links = JobDependency.objects.filter(job=job).order_by("position")
    needed = list(links.values_list("depends_on_id", flat=True))
    if not needed:
        return {}
    pins = {name: number for name, number in pinned_builds(job).items() if name in needed}
    latest = latest_successful_builds(name for name in needed if name not in pins)
    _check_pins(job, pins)
    missing = [name for name in needed if name not in pins and name not in latest]
    if missing:
        raise MissingDependencies(job.id, missing)
    return {name: pins[name] if name in pins else latest[name] for name in needed}


def _check_pins(job: Job, pins: dict[str, int]) -> None:
    good = dict(Build.objects.successful().filter(pk__in=pins.values()).values_list("pk", "job_id"))
    wrong = [
        f"build #{number} is not a successful build of {name!r}"
        for name, number in pins.items()
        if good.get(number) != name
    ]
    if wrong:
        raise InvalidRequest(f"job {job.id!r}, pinned_builds: " + "; ".join(wrong) + ".")


# --- Running them ---------------------------------------------------------------------------------


def claim(
    *, worker: WorkerIdentity, build_id: int | None = None, arm: bool = False
) -> Build | None:
    """Take the best eligible build, or the one named, for `worker`; None when there is none.

    The one place where a build becomes RUNNING: one conditional UPDATE, so that of any number of
    workers one has it. A named build may be CREATED or QUEUED, and be armed by this.
    """
    token = uuid.uuid4()
    if build_id is None:
        wanted = Build.objects.eligible()
    else:
        wanted = Build.objects.filter(pk=build_id, status__in=(Status.CREATED, Status.QUEUED))
    with transaction.atomic():
        # SKIP LOCKED on PostgreSQL; on SQLite the transaction holds the write lock already.
        best = wanted.select_for_update(skip_locked=True).values("pk")[:1]
        claimed = Build.objects.filter(pk=Subquery(best)).update(
            status=Status.RUNNING,
            worker=str(worker),
            claim_token=token,
            start_time=Now(),
            heartbeat=Now(),
            armed=True if arm else F("armed"),
        )
        if not claimed:
            return None
        return Build.objects.select_related("job", "payload").get(claim_token=token)


def beat(*, build_id: int, token: uuid.UUID) -> bool:
    """Renew the lease; return whether the token still holds it."""
    held = Build.objects.running().filter(pk=build_id, claim_token=token)
    return bool(held.update(heartbeat=Now()))


def finish_build(*, session: BuildSession, outcome: Outcome, with_records: bool = True) -> None:
    """Store the outcome, and the records still in memory, if the session still holds the build.

    Raises LeaseLost when it does not.
    """
    entries = session.logs.take(len(session.logs)) if with_records else []
    nodes = session.progress.take() if with_records else []
    try:
        with transaction.atomic():
            _close(session.build_id, session.token, outcome)
            store_observations(session=session, entries=entries, nodes=nodes)
    except Exception:
        session.logs.give_back(entries)
        session.progress.give_back(nodes)
        raise


def close_lost_build(*, build: Build, lease_seconds: float | None) -> bool:
    """Mark a RUNNING build whose worker is gone as FAILED (worker_lost); return whether it was.

    With `lease_seconds` only if its lease is still over; None says that its process, on this
    host, was seen dead.
    """
    worker = WorkerIdentity.parse(build.worker)
    seen = f"{build.heartbeat:%Y-%m-%d %H:%M:%S} UTC" if build.heartbeat else "never"
    message = f"the worker ({worker.label if worker else build.worker}) was lost; last seen {seen}."
    outcome = Outcome(
        status=Status.FAILED,
        failure_kind=Build.FailureKind.WORKER_LOST,
        exception_type="WorkerLost",
        exception_message=message,
    )
    held = Build.objects.all() if lease_seconds is None else Build.objects.lease_over(lease_seconds)
    try:
        with transaction.atomic():
            # Locks the row, so that a heartbeat can't come between this look and the close.
            if not held.select_for_update().filter(pk=build.pk).exists():
                return False
            _close(build.pk, build.claim_token, outcome)
            LogMessage.objects.create(
                build=build,
                created=timezone.now(),
                level=logging.ERROR,
                logger="jobcontrol",
                message=f"Build failed: {message}",
            )
    except LeaseLost:
        return False
    return True


def _close(build_id: int, token: uuid.UUID | None, outcome: Outcome) -> None:
    """Write a final state; only the holder of the token may, and only once."""
    held = Build.objects.running().filter(pk=build_id, claim_token=token)
    closed = held.update(
        status=outcome.status,
        end_time=Now(),
        failure_kind=outcome.failure_kind,
        exception_type=outcome.exception_type,
        exception_message=outcome.exception_message,
    )
    if not closed:
        raise LeaseLost(f"build #{build_id} was taken from this process")
    BuildPayload.objects.filter(build_id=build_id).update(
        retval=outcome.retval, retval_text=outcome.retval_text, traceback=outcome.traceback
    )


# --- What running builds report -------------------------------------------------------------------


def store_observations(
    *, session: BuildSession, entries: list[logs.LogEntry], nodes: list[progress.Node]
) -> None:
    """Insert log records and update progress rows, redacted."""
    bulk.insert_log_rows(
        {"build_id": session.build_id, **logs.row_values(entry, session.redactor)}
        for entry in entries
    )
    if nodes:
        store_progress(build_id=session.build_id, rows=_progress_rows(session, nodes))


def store_progress(*, build_id: int, rows: list[dict[str, Any]]) -> None:
    """Insert or update progress rows (see `builds.progress.row_values`)."""
    now = timezone.now()
    BuildProgress.objects.bulk_create(
        [BuildProgress(build_id=build_id, updated=now, **row) for row in rows],
        update_conflicts=True,
        unique_fields=["build", "group_digest"],
        update_fields=["current", "total", "status_line", "updated"],
    )


def _progress_rows(session: BuildSession, nodes: list[progress.Node]) -> list[dict[str, Any]]:
    # Two paths may be one once secrets are masked and long names are cut: the later one counts.
    rows = (progress.row_values(node, session.redactor) for node in nodes)
    return list({row["group_digest"]: row for row in rows}.values())
