"""Deleting builds: asked for, carried out by a worker, and what is kept of it.

The cleanup function runs before anything is deleted (see `builds.deletion`, which calls it).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Subquery
from django.db.models.functions import Now

from builds import queue
from builds.models import Build, BuildDependency, Deletion, seconds_ago
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import BuildStateError, LeaseLost

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = Deletion.State
Outcome = Deletion.Outcome


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


def begin_deletion(
    *,
    build: Build,
    requested_by: User | None = None,
    cleanup: bool = True,
    worker: WorkerIdentity | None = None,
) -> Deletion:
    """Record a deletion, WAITING for a worker or RUNNING in `worker`, and reserve the build."""
    with transaction.atomic():
        held = Build.objects.select_for_update().get(pk=build.pk)
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
    if build.deleting:
        raise BuildStateError(f"build #{build.pk} is being deleted already.")
    if build.status == Build.Status.RUNNING:
        raise BuildStateError(f"build #{build.pk} is running and can't be deleted now.")
    users = [f"#{number}" for number in unfinished_users(build)[:10]]
    if users:
        raise BuildStateError(
            f"build #{build.pk} can't be deleted: unfinished builds need it ({', '.join(users)})."
        )


def unfinished_users(build: Build) -> list[int]:
    """Return the numbers of the unfinished builds that use this one."""
    needing = BuildDependency.objects.filter(dep_build=build).exclude(
        build__status__in=Build.FINISHED
    )
    return list(needing.values_list("build_id", flat=True))


def cleanup_function(build: Build) -> str:
    """Return the `module:function` that the build's own configuration names, or nothing."""
    config = build.payload.config
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
        build = Build.objects.filter(pk=deletion.build_number)
        if is_failure:
            build.update(deleting=False)
        else:
            build.delete()


def close_lost_deletion(*, deletion: Deletion, lease_seconds: float | None) -> bool:
    """Mark a deletion whose worker is gone as FAILED; the build stays. Return whether it was."""
    held = Deletion.objects.filter(pk=deletion.pk, state=State.RUNNING)
    if lease_seconds is not None:
        held = held.filter(heartbeat__lt=seconds_ago(lease_seconds))
    worker = WorkerIdentity.parse(deletion.worker)
    label = worker.label if worker else deletion.worker
    with transaction.atomic():
        closed = held.filter(claim_token=deletion.claim_token).update(
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
