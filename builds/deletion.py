"""Carrying out a deletion: the cleanup function first, then the build goes.

In a worker for those asked for in the browser, in place for Python and the command line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builds import calling, capture, context, flags, isolation, services, sessions, tracebacks
from builds.deletion_models import Deletion
from builds.excerpts import LogExcerpt
from builds.models import Build
from builds.recorder import recorder
from builds.sessions import BuildSession
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import CleanupFailed, LeaseLost
from jobs import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

Outcome = Deletion.Outcome


def delete_build(
    *, build: Build, requested_by: User | None = None, cleanup: bool = True
) -> Deletion:
    """Delete a build with all its records, here and now, and return what became of it.

    The cleanup function that the build's own configuration names is called first, with the
    build; if it raises, the build stays, the failure is kept, and CleanupFailed is raised. Raises
    BuildStateError for a running build and for one that an unfinished build needs.
    """
    worker = WorkerIdentity.current()
    deletion = recorder().call(
        lambda: services.begin_deletion(
            build=build, requested_by=requested_by, cleanup=cleanup, worker=worker
        )
    )
    failure = _carry_out(deletion)
    if failure is not None:
        raise CleanupFailed(failure)
    deletion.refresh_from_db()
    return deletion


def run_next() -> Deletion | None:
    """Claim and carry out a waiting deletion; None when there is none, or none is to be taken."""
    if not flags.takes_work():
        return None
    worker = WorkerIdentity.current()
    deletion = recorder().call(lambda: services.claim_deletion(worker=worker))
    if deletion is not None:
        failure = _carry_out(deletion)
        if failure:
            logger.warning("%s", failure)
        if not deletion.calls_function:
            remove_waiting()  # there may be very many, and one at a time is slow
    return deletion


def remove_waiting() -> int:
    """Remove some of the builds that wait for it and have nothing to call; return how many.

    None at all while there are none, or the process is to stop.
    """
    builds = recorder().call(services.waiting_removals)
    if not builds or not _empty(builds):
        return 0
    count = recorder().call(lambda: services.remove_builds(builds=builds))
    if count:
        logger.info("%s builds were deleted", count)
    return count


def _empty(builds: list[int]) -> bool:
    """Delete the log rows of builds, in short transactions; return whether all went."""
    while recorder().call(lambda: services.remove_log_rows(builds=builds)):
        if flags.stopping.is_set():
            return False
    return True


def _carry_out(deletion: Deletion) -> str | None:
    """Clean up, delete and record; return why not, in words, when the cleanup failed."""
    name = deletion.cleanup_function
    outcome = Outcome.SKIPPED if name else Outcome.NO_CLEANUP
    log, failure = "", None
    if deletion.calls_function:
        log, failure = _clean_up(deletion)
        outcome = Outcome.DONE if failure is None else Outcome.FAILED
    if failure is None:
        _empty([deletion.build_number])
    redactor = registry.redactor()
    traceback = None if failure is None else tracebacks.capture(failure, redactor)
    try:
        recorder().call(
            lambda: services.finish_deletion(
                deletion=deletion, outcome=outcome, log=log, traceback=traceback
            )
        )
    except LeaseLost as error:
        logger.warning("%s; nothing is recorded", error)
        return str(error)
    deletion.outcome = outcome
    if failure is None:
        logger.info("build #%s of %s was deleted", deletion.build_number, deletion.job_id)
        return None
    why = redactor.redact(_describe(failure))
    stop = "" if why.endswith((".", "!", "?")) else "."
    return (
        f"build #{deletion.build_number} was kept: its cleanup function {name} failed with "
        f"{why}{stop} Mend that, or delete it without cleanup."
    )


def _clean_up(deletion: Deletion) -> tuple[str, BaseException | None]:
    """Call the cleanup function; return what it logged and what it raised."""
    assert deletion.claim_token is not None
    redactor = registry.redactor()
    excerpt = LogExcerpt(redactor)
    session = BuildSession(
        deletion.build_number,
        deletion.claim_token,
        redactor,
        deletion_id=deletion.pk,
        excerpt=excerpt,
    )
    build = recorder().call(
        lambda: Build.objects.select_related("job", "payload").get(pk=deletion.build_number)
    )
    failure: BaseException | None = None
    owner = os.getpid()
    with _surroundings(session), context.active(build):
        try:
            info = context.author_api().build_info(build)
            calling.call(deletion.cleanup_function, [info], {})
        except BaseException as error:  # noqa: BLE001 - whatever the job's function raises
            failure = error
        if os.getpid() != owner:
            # The function forked, and this is the child coming back out of it: the deletion, and
            # whatever this process does next, are the parent's.
            os._exit(0 if failure is None else 1)
    # On its thread, which may be about to add what it took.
    recorder().call(lambda: recorder().drain(session))
    return str(excerpt), failure


@contextmanager
def _surroundings(session: BuildSession) -> Iterator[None]:
    scribe = recorder()
    sessions.enter(session)
    scribe.open(session)
    try:
        if sessions.is_nested(session):
            yield
        else:
            with isolation.preserved(), capture.installed(session.logs):
                yield
    finally:
        scribe.close(session)
        sessions.leave(session)


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - the text of a job's own exception may raise anything
        return type(error).__name__
