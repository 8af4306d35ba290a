"""Builds that run: claimed, kept alive, finished by the holder of the token, or closed as lost.

Lease arithmetic is in database time throughout (`Now()`), so that clocks of hosts may differ.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from builds.models import Build, BuildPayload, LogMessage
from builds.services import observations
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import LeaseLost

if TYPE_CHECKING:
    from builds.sessions import BuildSession

Status = Build.Status


@dataclass(frozen=True)
class Outcome:
    """How a build ended; every text is redacted and cleaned already."""

    status: Build.Status
    retval: bytes | None = None
    retval_text: str = ""
    retval_json: str = ""
    failure_kind: str = ""
    exception_type: str = ""
    exception_message: str = ""
    traceback: dict[str, Any] | None = None
    log_level: int = field(default=logging.INFO)
    log_line: str = ""


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
        waiting = (Status.CREATED, Status.QUEUED)
        wanted = Build.objects.filter(pk=build_id, status__in=waiting, deleting=False)
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
            observations.store_observations(session=session, entries=entries, nodes=nodes)
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
        retval=outcome.retval,
        retval_text=outcome.retval_text,
        retval_json=outcome.retval_json,
        traceback=outcome.traceback,
    )
