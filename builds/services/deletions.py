"""Deleting builds: asked for, carried out by a worker, and what is kept of it.

The cleanup function runs before anything is deleted (see `builds.deletion`, which calls it).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, QuerySet, Subquery, When
from django.db.models.functions import Now

from builds import queue
from builds.database_time import seconds_ago
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload
from builds.services import removals
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import BuildStateError, LeaseLost, NotFound

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = Deletion.State
Outcome = Deletion.Outcome
USERS_NAMED = 10


def request_deletion(
    *, build: Build, requested_by: User | None = None, cleanup: bool = True
) -> Deletion:
    """Ask a worker to clean up and delete a build; from now on no new build may use it.

    Raises BuildStateError for a running build, one that an unfinished build needs, and one that
    is being deleted already.
    """
    deletion = begin_deletion(build=build, requested_by=requested_by, cleanup=cleanup)
    transaction.on_commit(queue.wake)
    return deletion


def request_deletions(
    *,
    builds: Iterable[int],
    requested_by: User | None = None,
    cleanup: bool = True,
    wake: bool = True,
) -> tuple[list[Deletion], list[str]]:
    """Ask a worker to delete many builds, by their numbers, in a few statements.

    Return the deletions and, in words, why others can't be deleted; those stay as they are. A
    build that is marked to be kept can only be deleted by itself. Without `wake` the supervisor
    finds them in a second.
    """
    with transaction.atomic():
        wanted = Build.objects.filter(pk__in=list(builds)).order_by("pk")
        held = _lock(wanted)
        others = {build.pk: _running(build) for build in wanted.exclude(pk__in=list(held))}
        needed = _needed_by(list(held))
        refused = others | {
            number: _why_stays(build, needed.get(number, [])) for number, build in held.items()
        }
        free = [(build.pk, build.job_id) for build in held.values() if not refused[build.pk]]
        made = reserve(builds=free, requested_by=requested_by, cleanup=cleanup)
        if made and wake:
            transaction.on_commit(partial(queue.wake, times=min(len(made), settings.WORKERS)))
    return made, [reason for reason in refused.values() if reason]


def _lock(wanted: QuerySet[Build]) -> dict[int, Build]:
    """Lock those of these builds that don't run, and return them by number.

    What waits comes before what has ended, as it does for whoever lets a waiting build go on and
    gives it what it uses: nobody who deletes both can wait for one who waits for them. One that
    runs is not waited for: its end may need the builds that it used.
    """
    has_ended = Case(When(status__in=Build.FINISHED, then=1), default=0)
    rows = wanted.exclude(status=Build.Status.RUNNING).order_by(has_ended, "pk")
    return {build.pk: build for build in rows.select_for_update().defer("exception_message")}


def reserve(
    *,
    builds: Sequence[tuple[int, str]],
    requested_by: User | None = None,
    cleanup: bool = True,
    pruned: bool = False,
) -> list[Deletion]:
    """Make a waiting deletion of each build (number and job), which the caller has locked."""
    numbers = [number for number, _ in builds]
    functions = cleanup_functions(numbers)
    Build.objects.filter(pk__in=numbers).update(deleting=True)
    return Deletion.objects.bulk_create(
        Deletion(
            build_number=number,
            job_id=job_id,
            requested_by=requested_by,
            cleanup=cleanup,
            cleanup_function=functions.get(number, ""),
            pruned=pruned,
            state=State.WAITING,
        )
        for number, job_id in builds
    )


def begin_deletion(
    *,
    build: Build,
    requested_by: User | None = None,
    cleanup: bool = True,
    worker: WorkerIdentity | None = None,
) -> Deletion:
    """Record a deletion, WAITING for a worker or RUNNING in `worker`, and reserve the build."""
    with transaction.atomic():
        held = Build.objects.select_for_update().filter(pk=build.pk).first()
        if held is None:
            raise NotFound(f"build #{build.pk} is not there any more.")
        refuse_if_in_use(held)
        Build.objects.filter(pk=held.pk).update(deleting=True)
        name = cleanup_function(held)
        return Deletion.objects.create(
            build_number=held.pk,
            job_id=held.job_id,
            requested_by=requested_by,
            cleanup=cleanup,
            cleanup_function=name,
            state=State.WAITING if worker is None else State.RUNNING,
            worker="" if worker is None else str(worker),
            claim_token=None if worker is None else uuid.uuid4(),
            heartbeat=None if worker is None else Now(),
        )


def refuse_if_in_use(build: Build) -> None:
    """Raise BuildStateError when the build can't be deleted now."""
    problem = why_in_use(build)
    if problem:
        raise BuildStateError(problem)


def why_in_use(build: Build) -> str:
    """Return why the build can't be deleted now, in words; empty when it can."""
    return _why_in_use(build, unfinished_users(build))


def _why_in_use(build: Build, users: Sequence[int]) -> str:
    if build.deleting:
        return f"build #{build.pk} is being deleted already."
    if build.status == Build.Status.RUNNING:
        return _running(build)
    if users:
        names = ", ".join(f"#{number}" for number in users[:USERS_NAMED])
        return f"build #{build.pk} can't be deleted: unfinished builds need it ({names})."
    return ""


def _running(build: Build) -> str:
    return f"build #{build.pk} is running and can't be deleted now."


def _why_stays(build: Build, users: Sequence[int]) -> str:
    if build.keep and not build.deleting:
        return f"build #{build.pk} is marked to be kept: delete it by itself, or unmark it."
    return _why_in_use(build, users)


def unfinished_users(build: Build) -> list[int]:
    """Return the numbers of the unfinished builds that use this one."""
    needing = BuildDependency.objects.filter(dep_build=build).exclude(
        build__status__in=Build.FINISHED
    )
    return list(needing.values_list("build_id", flat=True))


def _needed_by(numbers: Sequence[int]) -> dict[int, list[int]]:
    """Return the unfinished builds that use each of these builds."""
    links = BuildDependency.objects.filter(dep_build__in=numbers).exclude(
        build__status__in=Build.FINISHED
    )
    found: dict[int, list[int]] = {}
    for used, user in links.values_list("dep_build_id", "build_id"):
        found.setdefault(used, []).append(user)
    return found


def cleanup_function(build: Build) -> str:
    """Return the `module:function` that the build's own configuration names, or nothing."""
    return cleanup_functions([build.pk]).get(build.pk, "")


def cleanup_functions(numbers: Sequence[int]) -> dict[int, str]:
    """Return the cleanup function of each of these builds, by number."""
    # Configurations alone: the return values beside them may be large.
    configs = BuildPayload.objects.filter(pk__in=numbers).values_list("pk", "config")
    return {number: cleanup_name(config) for number, config in configs}


def cleanup_name(config: dict[str, Any]) -> str:
    """Return the `module:function` that a build's configuration names, or nothing."""
    return str(config.get("cleanup") or config.get("cleanup_function") or "")


def claim_deletion(*, worker: WorkerIdentity) -> Deletion | None:
    """Take the oldest waiting deletion for `worker`; None when there is none."""
    token = uuid.uuid4()
    with transaction.atomic():
        oldest = Deletion.objects.filter(state=State.WAITING).order_by("id")
        best = oldest.select_for_update(skip_locked=True).values("pk")[:1]
        claimed = Deletion.objects.filter(pk=Subquery(best), state=State.WAITING).update(
            state=State.RUNNING, worker=str(worker), claim_token=token, heartbeat=Now()
        )
        return Deletion.objects.get(claim_token=token) if claimed else None


def beat_deletion(*, deletion_id: int, token: uuid.UUID) -> bool:
    """Renew the lease; return whether the token still holds it."""
    return bool(_held(deletion_id, token).update(heartbeat=Now()))


def finish_deletion(
    *,
    deletion: Deletion,
    outcome: Deletion.Outcome,
    log: str = "",
    traceback: dict[str, Any] | None = None,
) -> None:
    """Store how it ended: delete the build, or, when the cleanup failed, let it go on living.

    Raises LeaseLost when the deletion was taken from this process.
    """
    is_failure = outcome == Outcome.FAILED
    with transaction.atomic():
        ended = _held(deletion.pk, deletion.claim_token).update(
            state=State.FAILED if is_failure else State.DONE,
            outcome=outcome,
            log=log,
            traceback=traceback,
            ended=Now(),
        )
        if not ended:
            raise LeaseLost(f"the deletion of build #{deletion.build_number} was taken over")
        if is_failure:
            Build.objects.filter(pk=deletion.build_number).update(deleting=False)
        else:
            removals.delete_builds(numbers=[deletion.build_number])
            removals.forget_pruned(numbers=[deletion.build_number])


def close_lost_deletion(*, deletion: Deletion, lease_seconds: float | None) -> bool:
    """Mark a deletion whose worker is gone as FAILED; the build stays. Return whether it was.

    One that had nothing to call waits again: a part of the build may be gone already.
    """
    held = Deletion.objects.filter(pk=deletion.pk, state=State.RUNNING)
    if lease_seconds is not None:
        held = held.filter(heartbeat__lt=seconds_ago(lease_seconds))
    held = held.filter(claim_token=deletion.claim_token)
    if not deletion.calls_function:
        again = held.update(state=State.WAITING, worker="", claim_token=None, heartbeat=None)
        return bool(again)
    worker = WorkerIdentity.parse(deletion.worker)
    label = worker.label if worker else deletion.worker
    with transaction.atomic():
        closed = held.update(
            state=State.FAILED,
            outcome=Outcome.FAILED,
            log=f"the worker ({label}) was lost while it cleaned up.",
            ended=Now(),
        )
        if closed:
            Build.objects.filter(pk=deletion.build_number).update(deleting=False)
    return bool(closed)


def _held(deletion_id: int, token: uuid.UUID | None) -> Any:
    return Deletion.objects.filter(pk=deletion_id, state=State.RUNNING, claim_token=token)
