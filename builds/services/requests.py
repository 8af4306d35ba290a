"""Asking for builds: what is refused, which inputs are pinned, what is recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from builds import queue, story
from builds.models import Build, BuildDependency, BuildPayload, UsedNonce
from builds.status import pinned_builds
from jobcontrol.exceptions import (
    BuildStateError,
    InvalidRequest,
    JobControlException,
    MissingDependencies,
    ProtectedJob,
)
from jobs import registry, signatures, tags
from jobs.models import ConfigRevision, Job, JobDependency
from jobs.policies import duration

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

Status = Build.Status


@dataclass(frozen=True, kw_only=True)
class Request:
    """A wish for a build.

    `args` and `kwargs` (decoded values, which may hold `!retval` of a dependency) stand in place
    of the job's own; None keeps those. `dependency_builds` pins inputs by job id; the others are
    the latest successes. The same `nonce` again gives the same build again.
    """

    job: Job
    trigger: str
    requested_by: User | None = None
    arm: bool = False
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    dependency_builds: Mapping[str, int] = field(default_factory=dict)
    nonce: str = ""


def create_build(**wish: Any) -> Build:
    """Record a build with its inputs pinned, not yet asked to run (CREATED).

    Takes the fields of `Request`. Raises InvalidRequest for a retired job, arguments that don't
    fit or a pin that can't be used; MissingDependencies naming every dependency without a
    successful build.
    """
    return _create(Request(**wish))


def request_build(**wish: Any) -> Build:
    """Record a build that a worker is to run (QUEUED), and wake one when this is committed.

    Takes the fields of `Request`. Raises ProtectedJob unless a protected job is armed, and what
    `create_build` raises. A nonce that was used returns the build that it made, or raises
    BuildStateError when that was deleted.
    """
    request = Request(**wish)
    refuse_unarmed(job=request.job, arm=request.arm)
    if request.nonce and UsedNonce.objects.filter(nonce=request.nonce).exists():
        # Whatever changed since: the answer to a repeated question is the build, no refusal.
        return _build_of_nonce(request.nonce)
    try:
        with transaction.atomic():
            return queue_build(build=_create(request), arm=request.arm)
    except _NonceUsed as used:
        return _build_of_nonce(used.nonce)


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
    facts: dict[str, Any] = {"build": build.pk, "job": build.job_id, "trigger": build.trigger}
    user = build.requested_by
    transaction.on_commit(lambda: story.tell(logger, "requested", **facts, user=user))
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
        choose_inputs(job, {})
    except (MissingDependencies, InvalidRequest) as error:
        return str(error)
    return ""


def latest_successful_builds(job_ids: Iterable[str]) -> dict[str, int]:
    """Return the newest successful, not skipped build of each job that has one."""
    found = (
        Build.objects.usable()
        .filter(job_id__in=list(job_ids))
        .order_by()
        .values_list("job_id")
        .annotate(newest=Max("id"))
    )
    return dict(found)


# --- One build ------------------------------------------------------------------------------------


class _NonceUsed(Exception):  # noqa: N818 - from the insert to the one who looks up the build
    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        super().__init__(nonce)


def _create(request: Request) -> Build:
    job = request.job
    config, config_text = snapshot(request)
    with transaction.atomic():
        inputs = choose_inputs(job, request.dependency_builds)
        lock_inputs(job, inputs)
        build = Build.objects.create(
            job=job,
            status=Status.CREATED,
            trigger=request.trigger,
            requested_by=request.requested_by,
            priority=job.priority,
            timeout=_timeout(config),
            config_revision_id=ConfigRevision.objects.values_list("pk", flat=True).first(),
        )
        _use_nonce(request.nonce, build)
        BuildPayload.objects.create(build=build, config=config, config_text=config_text)
        BuildDependency.objects.bulk_create(
            BuildDependency(
                build=build, job_id=job_id, dep_build_id=number, dep_build_number=number
            )
            for job_id, number in inputs.items()
        )
    return build


def _timeout(config: Mapping[str, Any]) -> timedelta | None:
    given = config.get("timeout")
    seconds = settings.TIMEOUT_SECONDS if given is None else duration(given)
    return None if seconds is None else timedelta(seconds=seconds)


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


def snapshot(request: Request) -> tuple[dict[str, Any], str]:
    """Return the configuration that the build keeps, and its text.

    Raises InvalidRequest for a retired job and for arguments that don't fit.
    """
    job = request.job
    if job.retired:
        raise InvalidRequest(
            f"job {job.id!r} is no longer in the configuration file and can't be built."
        )
    if request.args is None and request.kwargs is None:
        return job.config, job.config_text
    config = dict(tags.decode(job.config))
    if request.args is not None:
        config["args"] = request.args
    if request.kwargs is not None:
        config["kwargs"] = request.kwargs
    _check_arguments(job, config.get("args") or [], config.get("kwargs") or {})
    redactor = registry.redactor()
    encoded = tags.encode(config, redactor)
    return encoded, redactor.redact(tags.to_yaml(tags.decode(encoded)))


def _check_arguments(job: Job, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Raise InvalidRequest naming all that is wrong with arguments typed for one build."""
    known = set(JobDependency.objects.filter(job=job).values_list("depends_on_id", flat=True))
    # Those of the file: a person who may start builds must not reach the site's own keys.
    known_secrets = registry.configuration().secrets
    wrong = [
        f"!retval {name} names no dependency of this job"
        for name in tags.retvals_in([args, kwargs])
        if name not in known
    ]
    wrong += [
        f"!secret {name} is not in the configuration file"
        for name in tags.secrets_in([args, kwargs])
        if name not in known_secrets
    ]
    misfit = signatures.problem(job, args, kwargs)
    if misfit:
        wrong.append(misfit)
    if wrong:
        raise InvalidRequest(f"job {job.id!r}: " + "; ".join(wrong) + ".")


# --- Its inputs -----------------------------------------------------------------------------------


def choose_inputs(job: Job, chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the build to use for each dependency: chosen, pinned in the file, or the latest."""
    (found,) = inputs_or_refusals([(job, chosen)])
    if isinstance(found, JobControlException):
        raise found
    return found


def inputs_or_refusals(
    wishes: Sequence[tuple[Job, Mapping[str, int]]],
) -> list[dict[str, int] | JobControlException]:
    """Return `choose_inputs` of each job and what is chosen for it, or the error that it raises.

    Three queries, however many jobs.
    """
    needed: dict[str, list[str]] = {job.pk: [] for job, _ in wishes}
    links = JobDependency.objects.filter(job__in=list(needed)).order_by("position")
    for job_id, name in links.values_list("job_id", "depends_on_id"):
        needed[job_id].append(name)
    pins = []
    for job, chosen in wishes:
        own = pinned_builds(job).items()
        pins.append({name: number for name, number in own if name in needed[job.pk]} | {**chosen})
    usable = usable_builds({number for one in pins for number in one.values()})
    unpinned = {
        name
        for (job, _), one in zip(wishes, pins, strict=True)
        for name in needed[job.pk]
        if name not in one
    }
    latest = latest_successful_builds(unpinned)
    found: list[dict[str, int] | JobControlException] = []
    for (job, chosen), one in zip(wishes, pins, strict=True):
        refusal = _refusal(job, needed[job.pk], chosen, one, usable=usable, latest=latest)
        builds = {**latest, **one}
        found.append(refusal or {name: builds[name] for name in needed[job.pk]})
    return found


def _refusal(
    job: Job,
    needed: Sequence[str],
    chosen: Mapping[str, int],
    pins: Mapping[str, int],
    *,
    usable: Mapping[int, str],
    latest: Mapping[str, int],
) -> JobControlException | None:
    """Return what is wrong with the inputs of a job, if anything is."""
    strangers = [name for name in chosen if name not in needed]
    if strangers:
        names = ", ".join(repr(name) for name in strangers)
        return InvalidRequest(f"job {job.id!r} does not depend on {names}.")
    wrong = wrong_pins(job, pins, usable)
    if wrong:
        return InvalidRequest(wrong)
    missing = [name for name in needed if name not in pins and name not in latest]
    return MissingDependencies(job.id, missing) if missing else None


def usable_builds(numbers: Iterable[int]) -> dict[int, str]:
    """Return the jobs of those builds that may be used as input, by number."""
    usable = Build.objects.usable().filter(pk__in=list(numbers))
    return dict(usable.values_list("pk", "job_id"))


def wrong_pins(job: Job, pins: Mapping[str, int], usable: Mapping[int, str]) -> str:
    """Say which pins can't be used, given what `usable_builds` said of all; "" when none."""
    wrong = [
        f"build #{number} is not a successful build of {name!r}"
        for name, number in pins.items()
        if usable.get(number) != name
    ]
    return f"job {job.id!r}: " + "; ".join(wrong) + "." if wrong else ""


def lock_inputs(job: Job, inputs: Mapping[str, int]) -> None:
    """Keep the inputs from being deleted until this build is recorded as needing them."""
    if not inputs:
        return
    usable = Build.objects.usable().filter(pk__in=inputs.values()).order_by("pk")
    locked = set(usable.select_for_update(no_key=True).values_list("pk", flat=True))
    gone = [name for name, number in inputs.items() if number not in locked]
    if gone:
        raise MissingDependencies(job.id, gone)
