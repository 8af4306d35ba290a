"""Asking for builds: what is refused, which inputs are pinned, what is recorded."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from builds import queue, story
from builds.models import Build
from builds.services import drafts, plans
from builds.services.inputs import choose_inputs, lock_inputs
from builds.services.wishes import Request, refuse_unarmed, refuse_unarmed_jobs, snapshot
from builds.token_models import UsedNonce
from jobcontrol.exceptions import BuildStateError, InvalidRequest, MissingDependencies
from jobs.models import Job

logger = logging.getLogger(__name__)

Status = Build.Status


def create_build(**wish: Any) -> Build:
    """Record a build with its inputs pinned, not yet asked to run (CREATED).

    Takes the fields of `Request`. Raises InvalidRequest for a retired job, arguments that don't
    fit or a pin that can't be used; MissingDependencies naming every dependency without a
    successful build; BuildStateError when an input was deleted at the same moment.
    """
    with transaction.atomic():
        return _record(Request(**wish), status=Status.CREATED)


def request_build(**wish: Any) -> Build:
    """Record a build that a worker is to run (QUEUED), and wake one when this is committed.

    Takes the fields of `Request`. If its options need more builds, all of them are recorded as one
    plan, and the target's, which waits for what it uses, is returned. Raises ProtectedJob unless
    the protected jobs are armed, and what `create_build` raises. A nonce that was used returns the
    build that it made, or raises BuildStateError when that was deleted.
    """
    request = Request(**wish)
    if request.options.are_plain:
        refuse_unarmed(job=request.job, arm=request.arm)
    if request.nonce and UsedNonce.objects.filter(nonce=request.nonce).exists():
        # Whatever changed since: the answer to a repeated question is the build, no refusal.
        return _build_of_nonce(request.nonce)
    try:
        with transaction.atomic():
            if request.options.are_plain:
                return _hand_over(_record(request, status=Status.QUEUED))
            return _queue_plan(request)
    except _NonceUsed as used:
        return _build_of_nonce(used.nonce)


def create_plan(*, runner: str, **wish: Any) -> Build:
    """Record the builds of a wish for the process `runner`, which runs them itself, in order.

    Those that can be run are CREATED, the others WAITING. Returns the target's. Raises what
    `request_build` raises.
    """
    request = Request(**wish)
    with transaction.atomic():
        plan = plans.plan_for(request)
        refuse_unarmed_jobs(plan.protected, arm=request.arm)
        return plans.record_plan(request, plan, runner=runner).target


def queue_build(*, build: Build, arm: bool = False) -> Build:
    """Hand a CREATED build to the workers.

    Raises ProtectedJob as `request_build`, BuildStateError when it was started or queued before.
    """
    refuse_unarmed(job=build.job, arm=arm)
    created = Build.objects.filter(pk=build.pk, status=Status.CREATED, deleting=False)
    changed = created.update(status=Status.QUEUED, armed=build.job.protected)
    if not changed:
        raise BuildStateError(
            f"build #{build.pk} was queued or started before, or is being deleted."
        )
    build.status = Status.QUEUED
    build.armed = build.job.protected
    return _hand_over(build)


def _hand_over(build: Build) -> Build:
    """Tell of a build that is QUEUED now, and wake a worker for it, when this is committed."""
    facts: dict[str, Any] = {"build": build.pk, "job": build.job_id, "trigger": build.trigger}
    user = build.requested_by
    transaction.on_commit(lambda: story.tell(logger, "requested", **facts, user=user))
    transaction.on_commit(partial(queue.wake, queue=build.queue))
    return build


def why_not_buildable(job: Job) -> str:
    """Return why the job can't be built now, in words; empty when it can."""
    if job.retired:
        return f"job {job.id!r} is no longer in the configuration file."
    try:
        choose_inputs(job, {})
    except (MissingDependencies, InvalidRequest) as error:
        return str(error)
    return ""


# --- One build ------------------------------------------------------------------------------------


class _NonceUsed(Exception):  # noqa: N818 - from the insert to the one who looks up the build
    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        super().__init__(nonce)


def _record(request: Request, *, status: Build.Status) -> Build:
    """Write down the one build of a request; in the caller's transaction."""
    job = request.job
    config, config_text = snapshot(request)
    inputs = choose_inputs(job, request.dependency_builds)
    lock_inputs([(job, inputs)])
    draft = drafts.Draft(
        job=job,
        trigger=request.trigger,
        config=config,
        config_text=config_text,
        inputs=inputs,
    )
    # What is only CREATED is armed when it is asked to run.
    armed = request.arm and status == Status.QUEUED
    (build,) = drafts.record([draft], status=status, requested_by=request.requested_by, armed=armed)
    _use_nonce(request.nonce, build)
    return build


def _queue_plan(request: Request) -> Build:
    plan = plans.plan_for(request)
    plans.refuse_unexpected(plan, request.expected)
    refuse_unarmed_jobs(plan.protected, arm=request.arm)
    made = plans.record_plan(request, plan)
    _use_nonce(request.nonce, made.target)
    return made.target


def _use_nonce(nonce: str, build: Build) -> None:
    if not nonce:
        return
    try:
        with transaction.atomic():
            UsedNonce.objects.create(nonce=nonce, build_number=build.pk)
    except IntegrityError:
        raise _NonceUsed(nonce) from None


def _build_of_nonce(nonce: str) -> Build:
    number = UsedNonce.objects.get(nonce=nonce).build_number or 0
    build = Build.objects.select_related("job").filter(pk=number).first()
    if build is None:
        raise BuildStateError(
            f"this request made build #{number} before, and that was deleted. Ask anew."
        )
    build.asked_before = True
    return build
