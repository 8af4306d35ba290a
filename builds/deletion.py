"""Deleting a build: its cleanup function first, the record of that, then the build."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction

from builds import calling, capture, context, isolation, sessions, tracebacks
from builds.models import Build, BuildDependency, Deletion
from builds.sessions import BuildSession
from jobcontrol.exceptions import BuildStateError, CleanupFailed, NotFound
from jobcontrol.utils.text import clean_text
from jobs import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

MAX_LOG_CHARS = 256 * 1024
MAX_RECORDS = 10_000

Outcome = Deletion.Outcome


def delete_build(
    *, build: Build, requested_by: User | None = None, cleanup: bool = True
) -> Deletion:
    """Delete a build with all its records and return what became of it.

    The cleanup function that the build's own configuration names is called here first, with the
    build; if it raises, the build stays, the failure is kept, and CleanupFailed is raised. Raises
    BuildStateError for a running build and for one that an unfinished build needs.
    """
    _refuse_if_in_use(_again(build))
    name = _cleanup_function(build)
    deletion = Deletion(
        build_number=build.pk,
        job_id=build.job_id,
        requested_by=requested_by,
        cleanup_function=name,
        outcome=Outcome.NO_CLEANUP if not name else Outcome.SKIPPED,
    )
    if name and cleanup:
        _clean_up(build, name, deletion)
    with transaction.atomic():
        kept = _again(build, lock=True)
        _refuse_if_in_use(kept)
        deletion.save()
        kept.delete()
    logger.info("build #%s of %s was deleted", deletion.build_number, deletion.job_id)
    return deletion


def _again(build: Build, *, lock: bool = False) -> Build:
    builds = Build.objects.select_for_update() if lock else Build.objects.all()
    found = builds.filter(pk=build.pk).first()
    if found is None:
        raise NotFound(f"build #{build.pk} was deleted before.")
    return found


def _refuse_if_in_use(build: Build) -> None:
    if build.status == Build.Status.RUNNING:
        raise BuildStateError(f"build #{build.pk} is running and can't be deleted now.")
    needing = BuildDependency.objects.filter(dep_build=build).exclude(
        build__status__in=Build.FINISHED
    )
    users = [f"#{number}" for number in needing.values_list("build_id", flat=True)[:10]]
    if users:
        raise BuildStateError(
            f"build #{build.pk} can't be deleted: unfinished builds need it ({', '.join(users)})."
        )


def _cleanup_function(build: Build) -> str:
    config = build.payload.config
    return str(config.get("cleanup") or config.get("cleanup_function") or "")


def _clean_up(build: Build, name: str, deletion: Deletion) -> None:
    """Call the cleanup function; fill in `deletion`, and store it when that failed."""
    redactor = registry.redactor()
    session = BuildSession(build.pk, uuid.uuid4(), redactor)
    failure: BaseException | None = None
    with _surroundings(session), context.active(build):
        try:
            calling.call(name, [context.author_api().build_info(build)], {})
        except BaseException as error:  # noqa: BLE001 - whatever the job's function raises
            failure = error
    entries = session.logs.take(MAX_RECORDS)
    lines = (f"{logging.getLevelName(entry.level)} {entry.message}" for entry in entries)
    deletion.log = clean_text(redactor.redact("\n".join(lines)), MAX_LOG_CHARS)
    deletion.outcome = Outcome.DONE
    if failure is not None:
        deletion.outcome = Outcome.FAILED
        deletion.traceback = tracebacks.capture(failure, redactor)
        deletion.save()
        raise CleanupFailed(
            f"build #{build.pk} was kept: its cleanup function {name} failed with "
            f"{redactor.redact(_describe(failure))}. Mend that, or delete it without cleanup."
        ) from failure


@contextmanager
def _surroundings(session: BuildSession) -> Iterator[None]:
    sessions.enter(session)
    try:
        if sessions.is_nested(session):
            yield
        else:
            with isolation.preserved(), capture.installed(session.logs):
                yield
    finally:
        sessions.leave(session)


def _describe(error: BaseException) -> Any:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - the text of a job's own exception may raise anything
        return type(error).__name__
