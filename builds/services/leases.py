"""Builds that run: claimed, kept alive, finished by the holder of the token, or closed as lost.

Lease arithmetic is in database time throughout (`Now()`), so that clocks of hosts may differ.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet, Subquery
from django.db.models.functions import Now

from builds import statements
from builds.models import Build, BuildPayload
from builds.services import cancels, limits, observations, promotions, retries
from builds.statements import Statement
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import LeaseLost, LimitReached
from jobs.policies import DEFAULT_QUEUE

if TYPE_CHECKING:
    from builds.sessions import BuildSession

Status = Build.Status

# What of an outcome stands in the build, and what in its payload.
_OUTCOME = ("status", "failure_kind", "exception_type", "exception_message")
_VALUES = ("retval", "retval_text", "retval_json")


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
    *,
    worker: WorkerIdentity,
    queues: Sequence[str] = (DEFAULT_QUEUE,),
    build_id: int | None = None,
    arm: bool = False,
    token: uuid.UUID | None = None,
) -> Build | None:
    """Take the best eligible build, or the one named, for `worker`; None when there is none.

    Only builds of `queues`, whose order comes before that of their builds. A named build may be
    CREATED or QUEUED, of any queue, and be armed by this. Raises LimitReached when the job of a
    named build has as many running as its `concurrency` allows.
    """
    given = {"worker": str(worker), "claim_token": token or uuid.uuid4()}
    if build_id is not None:
        waiting = (Status.CREATED, Status.QUEUED)
        named = Build.objects.filter(pk=build_id, status__in=waiting, deleting=False)
        armed = {"armed": True} if arm else {}
        return _take(partial(_taking, named, in_place=True, **armed), given)
    for name in queues:
        full: list[str] = []
        while True:
            try:
                found = _take(partial(_taking_of_queue, *full), given | {"queue": name})
            except LimitReached as reached:
                full.append(reached.job_id)  # others were a moment faster
                continue
            if found is not None:
                return found
            break
    return None


@lru_cache(maxsize=1)  # in nearly all cases no job is full
def _taking_of_queue(*full: str) -> Statement:
    """Return the statement for the best build of a queue, but of no job that is `full`."""
    # One queue at a time: so the index gives its builds in their order.
    queued = Build.objects.eligible().filter(queue=statements.slot(Build, "queue"))
    eligible = limits.startable(queued)
    return _taking(eligible.exclude(job__in=full) if full else eligible, in_place=False)


def _taking(wanted: QuerySet[Build], **changes: object) -> Statement:
    """Return the statement that makes the first of `wanted` RUNNING.

    One conditional UPDATE, so that of any number of workers one has the build.
    """
    # SKIP LOCKED on PostgreSQL; on SQLite the transaction holds the write lock already.
    best = wanted.select_for_update(skip_locked=True).values("pk")[:1]
    return statements.update(
        Build.objects.filter(pk=Subquery(best)),
        status=Status.RUNNING,
        worker=statements.slot(Build, "worker"),
        claim_token=statements.slot(Build, "claim_token"),
        start_time=Now(),
        heartbeat=Now(),
        **changes,
    )


def _take(taking: Callable[[], Statement], given: Mapping[str, object]) -> Build | None:
    """Run a statement of `_taking` and return the build that it took.

    The one place where a build becomes RUNNING. Raises LimitReached, and leaves it as it was, if
    that was one too many.
    """
    with transaction.atomic():
        build = statements.take(taking(), **given)
        if build is not None and build.job.concurrency is not None:
            limits.keep_limit(job=build.job)
        return build


def unclaim(*, token: uuid.UUID) -> bool:
    """Queue again what was claimed with `token`, which nobody runs; return whether there was one.

    For a claim whose connection broke at its commit: it may have been done, and yet have failed
    for the one who asked.
    """
    held = Build.objects.running().filter(claim_token=token)
    given_back = held.update(
        status=Status.QUEUED, worker="", claim_token=None, start_time=None, heartbeat=None
    )
    return bool(given_back)


def beat(*, build_id: int, token: uuid.UUID) -> bool:
    """Renew the lease; return whether the token still holds it."""
    held = Build.objects.running().filter(pk=build_id, claim_token=token)
    return bool(held.update(heartbeat=Now()))


@dataclass(frozen=True)
class Seen:
    """What the database says of a build that this process runs."""

    held: bool
    cancelled: bool = False


def look(*, build_id: int, token: uuid.UUID) -> Seen:
    """Return whether the token still holds the build, and whether it is to be cancelled."""
    held = Build.objects.running().filter(pk=build_id, claim_token=token)
    asked = held.values_list("cancel_requested", flat=True)
    return next((Seen(held=True, cancelled=when is not None) for when in asked), Seen(held=False))


def note_hang(session: BuildSession, *, traceback: dict[str, Any]) -> None:
    """Keep where a build is whose time is over, in case that it has to be killed."""
    held = Build.objects.running().filter(pk=session.build_id, claim_token=session.token)
    BuildPayload.objects.filter(build__in=held).update(traceback=traceback)


def finish_build(
    *, session: BuildSession, outcome: Outcome, with_records: bool = True, retry: bool = True
) -> Status:
    """Store the outcome, and the records still in memory, if the session still holds the build.

    Returns the state: CANCELLED, whatever the outcome, when that was asked for before. With
    `retry` a failed build is asked for again if its job's `retries` say so. Raises LeaseLost when
    the session does not hold the build.
    """
    entries = session.logs.take_rest() if with_records else []
    nodes = session.progress.take() if with_records else []
    try:
        with transaction.atomic():
            status = _close(session.build_id, session.token, outcome)
            observations.store_observations(session=session, entries=entries, nodes=nodes)
            _say_what_follows(session.build_id, status, outcome, retry=retry)
            if session.in_plan:
                promotions.settle_after([session.build_id])
            if session.limited_job is not None:
                limits.wake_next(job_id=session.limited_job)
    except Exception:
        session.logs.give_back(entries)
        session.progress.give_back(nodes)
        raise
    return status


def is_held(*, build: Build, lease_seconds: float | None) -> bool:
    """Whether the build still runs under the token that was read, and (if given) its lease is over.

    Reads only: it answers also while somebody keeps the database from being written.
    """
    running = Build.objects.running()
    held = running if lease_seconds is None else running.lease_over(lease_seconds)
    return held.filter(pk=build.pk, claim_token=build.claim_token).exists()


def hold(*, build: Build) -> bool:
    """Lock a build that still runs under the token that was read; in the caller's transaction.

    Returns False for one that does not, or that somebody else has locked just now.
    """
    held = Build.objects.running().select_for_update(skip_locked=True)
    return held.filter(pk=build.pk, claim_token=build.claim_token).exists()


def close_build(*, build: Build, outcome: Outcome, lease_seconds: float | None) -> bool:
    """End a RUNNING build in the place of its worker, which can't any more; return whether it did.

    With `lease_seconds` only if its lease is still over; None says that its process, on this host,
    is gone.
    """
    held = Build.objects.all() if lease_seconds is None else Build.objects.lease_over(lease_seconds)
    try:
        with transaction.atomic():
            # Locks the row, so that a heartbeat can't come between this look and the close.
            if not held.select_for_update().filter(pk=build.pk).exists():
                return False
            status = _close(build.pk, build.claim_token, outcome)
            is_cancelled = status == Status.CANCELLED
            observations.say(
                build_id=build.pk,
                level=logging.WARNING if is_cancelled else logging.ERROR,
                message=f"Build {'stopped' if is_cancelled else 'failed'}: "
                f"{outcome.exception_message}",
            )
            _say_what_follows(build.pk, status, outcome, retry=not build.in_place)
            if build.plan_id is not None:
                promotions.settle_after([build.pk])
            limits.wake_next(job_id=build.job_id)
    except LeaseLost:
        return False
    return True


def _close(build_id: int, token: uuid.UUID | None, outcome: Outcome) -> Status:
    """Write a final state; only the holder of the token may, and only once.

    What was to be cancelled is CANCELLED, even if it ended well in the meantime.
    """
    values = _values(build_id, outcome) | {name: getattr(outcome, name) for name in _OUTCOME}
    storing = _storing(outcome.traceback is not None)
    if statements.run_both(_closing(), storing, id=build_id, claim_token=token, **values):
        return outcome.status
    held = Build.objects.running().filter(pk=build_id, claim_token=token)
    if not held.update(status=Status.CANCELLED, end_time=Now()):
        raise LeaseLost(f"build #{build_id} was taken from this process")
    values = _values(build_id, replace(outcome, retval=None, retval_text="", retval_json=""))
    storing.run(**values)
    return Status.CANCELLED


@cache
def _closing() -> Statement:
    held = {name: statements.slot(Build, name) for name in ("id", "claim_token")}
    return statements.update(
        Build.objects.running().filter(cancel_requested=None, **held),
        end_time=Now(),
        **{name: statements.slot(Build, name) for name in _OUTCOME},
    )


@cache
def _storing(with_traceback: bool) -> Statement:
    # One that was kept while it hung stays, unless the build told its own.
    names = (*_VALUES, "traceback") if with_traceback else _VALUES
    payload = BuildPayload.objects.filter(build=statements.slot(BuildPayload, "build"))
    return statements.update(
        payload, **{name: statements.slot(BuildPayload, name) for name in names}
    )


def _values(build_id: int, outcome: Outcome) -> dict[str, Any]:
    values = {name: getattr(outcome, name) for name in (*_VALUES, "traceback")}
    return values | {"build": build_id}


def _say_what_follows(build_id: int, status: Status, outcome: Outcome, *, retry: bool) -> None:
    """Say in the log that the build was cancelled, or by which build it is tried again."""
    if status == Status.CANCELLED:
        cancels.say_cancelled(build_id=build_id)
    elif status == Status.FAILED and retry:
        retries.retry_build(build_id=build_id, kind=outcome.failure_kind)
