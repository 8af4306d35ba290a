"""Running one build in this process: claim, call, record.

The runner covers the call *and* the storing of its result, and catches every BaseException. All
database work goes through the recorder's own connection.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError

from builds import (
    calling,
    capture,
    context,
    flags,
    interrupts,
    isolation,
    queue,
    retention,
    retvals,
    services,
    sessions,
    story,
    tracebacks,
)
from builds.models import Build
from builds.recorder import Recorder, recorder
from builds.services import Outcome
from builds.sessions import BuildSession, Cause, Interruption
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import (
    BuildInterrupted,
    BuildStateError,
    LeaseLost,
    SerializationError,
    SkipBuild,
)
from jobcontrol.utils import import_object
from jobcontrol.utils.text import clean_text
from jobs import registry
from jobs.redaction import Redactor

logger = logging.getLogger(__name__)

MAX_MESSAGE = 10_000  # characters of a stored exception message
MAX_RETVAL_TEXT = 1024 * 1024
RETRY_SECONDS = 0.5

Status = Build.Status
Kind = Build.FailureKind


def run_next() -> Build | None:
    """Claim and run the best eligible build; None when there is none, or none is to be taken."""
    build = _claim_next()
    if build is not None:
        _run(build)
    return build


def run_all(*, until: float) -> None:
    """Run eligible builds one after another, the first one anyway, until `monotonic()` is there."""
    turn = _Turn(until)
    build = _claim_next()
    while build is not None:
        _run(build, and_then=turn.claim_ahead)
        build = turn.next_build()


class _Turn:
    """A worker's turn: each build but the first is claimed right after the end of the one before.

    So both cost one change of threads.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._ahead: Future[Build | None] | None = None

    def next_build(self) -> Build | None:
        """Return the next build; None when there is none, or the turn is over."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return ahead.result()
        return None if self._is_over else _claim_next()

    def claim_ahead(self) -> None:
        """Claim the next build; whoever asks for it gets it, or what this raised."""
        if self._is_over:
            return
        self._ahead = Future()
        try:
            self._ahead.set_result(_claim_next())
        except Exception as error:  # noqa: BLE001 - raised where the build is asked for
            self._ahead.set_exception(error)

    @property
    def _is_over(self) -> bool:
        return monotonic() >= self._until


def run_here(build: Build, *, arm: bool = False) -> Build:
    """Run one build, CREATED or QUEUED, in this process and return it as it ended.

    `arm` says that the request armed a protected job. Raises BuildStateError when it was started
    before, LimitReached when its job has as many running as its `concurrency` allows.
    """
    registry.ensure_current()
    claimed = _claim(build.pk, arm=arm and build.job.protected)
    if claimed is None:
        build.refresh_from_db()
        raise BuildStateError(
            f"build #{build.pk} is {build.get_status_display()} and can't be run"
            + (" again; ask for a new build." if build.started else ".")
        )
    _run(claimed, retry=False)
    return Build.objects.select_related("job").get(pk=build.pk)


_claims_in_doubt: list[uuid.UUID] = []  # tokens


def settle_claims() -> None:
    """Wait for the database, and give back what it may have given this process unheard.

    Else nobody would run such a build, and its lease would end with a worker that is well.
    """
    scribe = recorder()
    while _claims_in_doubt and not flags.stopping.is_set():
        try:
            if scribe.call(partial(services.unclaim, token=_claims_in_doubt[0])):
                logger.warning("a build was claimed while the connection broke: it is queued again")
            del _claims_in_doubt[0]
        except (DatabaseError, InterfaceError):
            scribe.call(scribe.reconnect)
            sleep(RETRY_SECONDS)


def _claim_next() -> Build | None:
    if not flags.takes_work():
        return None
    registry.ensure_current()
    return _claim(None)


def _claim(build_id: int | None, *, arm: bool = False) -> Build | None:
    token = uuid.uuid4()
    worker = WorkerIdentity.current()
    try:
        take = partial(services.claim, worker=worker, queues=queue.served(), token=token)
        return recorder().call(partial(take, build_id=build_id, arm=arm))
    except (OperationalError, InterfaceError):
        if build_id is None:
            _claims_in_doubt.append(token)
        raise


def _run(build: Build, *, retry: bool = True, and_then: Callable[[], None] | None = None) -> None:
    """Run a build that was just claimed, and record how it ended.

    `and_then` is called, on the recorder's thread, once that is stored.
    """
    scribe = recorder()
    interrupts.install()
    assert build.claim_token is not None
    timeout = None if build.timeout is None else build.timeout.total_seconds()
    session = BuildSession(
        build.pk,
        build.claim_token,
        registry.redactor(),
        timeout=timeout,
        retry=retry,
        in_plan=build.plan_id is not None,
        limited_job=None if build.job.concurrency is None else build.job_id,
        log_rows=retention.log_rows(build),
    )
    names: dict[str, Any] = {"build": build.pk, "job": build.job_id}
    attempt = build.attempt if build.attempt > 1 else None
    worker = WorkerIdentity.current()
    story.tell(logger, "claimed", **names, attempt=attempt, pid=worker.pid, host=worker.host)
    sessions.enter(session)
    scribe.open(session)
    try:
        outcome, passing = _execute(build, session, scribe)
        status = _record(session, outcome, scribe, and_then)
    finally:
        scribe.close(session)
        sessions.leave(session)
    story.tell(
        logger,
        "ended" if status else "not_recorded",
        **names,
        status=status,
        kind=outcome.failure_kind if status == Status.FAILED else None,
        seconds=monotonic() - session.opened,
    )
    if passing is not None:
        raise passing


# --- The call -------------------------------------------------------------------------------------


def _execute(
    build: Build, session: BuildSession, scribe: Recorder
) -> tuple[Outcome, BuildInterrupted | None]:
    """Run the function and describe how it ended, whatever it does.

    Returns beside it the interruption that was meant for the build around this one, whose function
    called us.
    """
    passing = None
    config = build.payload.config
    owner = os.getpid()
    with _surroundings(session), context.active(build):
        session.logs.say(logging.INFO, f"Build #{build.pk} started: {config.get('function')}")
        try:
            # It may have become protected while the build waited.
            services.refuse_unarmed(job=build.job, arm=build.armed)
            inputs = _inputs(build, scribe) if calling.needs_inputs(config) else {}
            args, kwargs = calling.arguments(config, inputs, session.redactor)
            value = calling.call(str(config.get("function")), args, kwargs)
            outcome = _success(build, value, session.redactor)
            if session.interruption is not None and session.interruption.raised:
                outcome = _interrupted(session.interruption, None)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its outcome
            outcome = _outcome_of(error, session)
            if isinstance(error, BuildInterrupted) and _meant_for(error) not in (None, session):
                passing = error
        if os.getpid() != owner:
            # The job forked, and this is the child coming back out of its function: the build
            # is the parent's.
            os._exit(0 if outcome.status in Build.SUCCESS else 1)
    session.timeout = None  # storing the outcome is not the job's time
    if session.progress.dropped:
        text = f"{session.progress.dropped} progress reports were dropped: too many different bars."
        session.logs.say(logging.WARNING, text)
    session.logs.say(outcome.log_level, outcome.log_line)
    return outcome, passing


def _inputs(build: Build, scribe: Recorder) -> dict[str, tuple[int, bytes | None]]:
    """Load the inputs; a database that goes away just now is waited for, as long as a lease."""
    deadline = monotonic() + settings.LEASE_SECONDS
    while True:
        try:
            return scribe.call(lambda: calling.load_inputs(build.pk))
        except (OperationalError, InterfaceError):
            if monotonic() > deadline:
                raise
            scribe.call(scribe.reconnect)
            sleep(RETRY_SECONDS)


@contextmanager
def _surroundings(session: BuildSession) -> Iterator[None]:
    """Isolate and capture, for the outermost build; a nested one shares its surroundings."""
    if sessions.is_nested(session):
        yield
        return
    with isolation.preserved(), capture.installed(session.logs):
        yield


def _success(build: Build, value: object, redactor: Redactor) -> Outcome:
    sealed = retvals.seal(build.pk, value)
    return Outcome(
        status=Status.SUCCESSFUL,
        retval=sealed,
        retval_text=_retval_text(build, value, redactor),
        retval_json=retvals.json_text(value, redactor),
        log_line="Build finished with success.",
    )


def _retval_text(build: Build, value: object, redactor: Redactor) -> str:
    """Return the value as people will read it: by the job's `repr_function`, else its repr.

    A failing one is a note in that text and a line in the log, not a failed build: the value
    itself is good.
    """
    name = build.payload.config.get("repr_function")
    try:
        if name:
            info = context.author_api().build_info(build, retval=value)
            text = calling.text(import_object(str(name)), info)
        else:
            text = calling.text(repr, value)
    except (KeyboardInterrupt, BuildInterrupted):
        raise
    except BaseException as error:
        maker = f"repr_function {name}" if name else "repr() of the return value"
        logging.getLogger("jobcontrol.runner").warning("%s failed", maker, exc_info=True)
        text = f"<{maker} failed: {type(error).__name__}>"
    return redactor.redact_start(text, MAX_RETVAL_TEXT)


def _outcome_of(error: BaseException, session: BuildSession) -> Outcome:
    redactor = session.redactor
    interruption = _interruption_behind(error, session)
    if interruption is not None:
        return _interrupted(interruption, tracebacks.capture(error, redactor))
    message = redactor.redact_start(_text(error), MAX_MESSAGE)
    name = clean_text(redactor.redact(_type_name(error)), 300)
    if isinstance(error, SkipBuild):
        return Outcome(
            status=Status.SKIPPED,
            exception_message=message,
            log_line=f"Build skipped: {message}" if message else "Build skipped.",
        )
    is_unstorable = isinstance(error, SerializationError)
    return Outcome(
        status=Status.FAILED,
        failure_kind=Kind.SERIALIZATION if is_unstorable else Kind.EXCEPTION,
        exception_type=name,
        exception_message=message,
        traceback=tracebacks.capture(error, redactor),
        log_level=logging.ERROR,
        log_line=f"Build failed: {name}: {message}",
    )


def _interruption_behind(error: BaseException, session: BuildSession) -> Interruption | None:
    """Return what stopped the build: meant for itself, or for one that it is nested in."""
    if session.interruption is not None and session.interruption.raised:
        return session.interruption
    meant = _meant_for(error) if isinstance(error, BuildInterrupted) else None
    return meant.interruption if meant else None


def _meant_for(error: BuildInterrupted) -> BuildSession | None:
    """Return whom an interruption is to end; None for one that a job made, or kept, by itself."""
    return None if error.build_id is None else sessions.find(error.build_id)


_INTERRUPTED = {
    Cause.CANCEL: (Status.CANCELLED, "", "Cancelled"),
    Cause.TIMEOUT: (Status.FAILED, Kind.TIMEOUT, "Timeout"),
    Cause.SHUTDOWN: (Status.FAILED, Kind.SHUTDOWN, "WorkerStopped"),
    Cause.LEASE_LOST: (Status.FAILED, Kind.WORKER_LOST, "WorkerLost"),
}


def _interrupted(interruption: Interruption, traceback: dict[str, Any] | None) -> Outcome:
    """Describe a build that was stopped from outside, whatever its function made of that."""
    status, kind, name = _INTERRUPTED[interruption.cause]
    return Outcome(
        status=status,
        failure_kind=kind,
        exception_type=name if status == Status.FAILED else "",
        exception_message=interruption.text,
        traceback=traceback,
        log_level=logging.ERROR if status == Status.FAILED else logging.WARNING,
        log_line=f"Build stopped: {interruption.text}",
    )


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else (f"{kind.__module__}.{kind.__qualname__}")
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as failure:  # noqa: BLE001 - a job's own __str__ may raise anything
        return f"<text of the exception can't be made: {type(failure).__name__}>"


# --- The record -----------------------------------------------------------------------------------


def _record(
    session: BuildSession,
    outcome: Outcome,
    scribe: Recorder,
    and_then: Callable[[], None] | None,
) -> Build.Status | None:
    """Store the outcome and return the state; None when the build is not ours any more.

    Tries until the lease is over, then gives the build up.

    Giving up ends the process when it is a worker's: what keeps the database shut may be a lock
    that the job left behind in it.
    """
    deadline = monotonic() + settings.LEASE_SECONDS
    with_records, has_failed = True, False

    def finish() -> Status:
        if with_records and not has_failed:
            scribe.flush(session)
        status = services.finish_build(
            session=session, outcome=outcome, with_records=with_records, retry=session.retry
        )
        if with_records:  # else there is a marker to be written
            scribe.forget(session)
        if and_then is not None:
            and_then()
        return status

    while True:
        try:
            status = scribe.call(finish)
        except LeaseLost as error:
            logger.warning("%s; nothing is recorded", error)
            return None
        except (OperationalError, InterfaceError) as error:
            if not has_failed:
                text = "the outcome of build #%s can't be stored; it is tried again and again: %s"
                logger.warning(text, session.build_id, error)
            has_failed = True
            if monotonic() > deadline:
                sys.exit(f"build #{session.build_id}: the database did not take its outcome")
            scribe.call(scribe.reconnect)
            sleep(RETRY_SECONDS)
        except Exception:
            if not with_records:
                raise
            # The records are at fault, which the database refuses or of which no row can be made:
            # they are dropped, with a marker, and the build stands.
            logger.exception("the last records of build #%s are dropped", session.build_id)
            # On its thread: a write that fails just now gives its records back to the buffer.
            scribe.call(session.logs.drop_all)
            with_records = False
        else:
            if not with_records:
                scribe.call(partial(scribe.write_marker, session))
            return status
