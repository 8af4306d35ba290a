"""What is asked for: a job, how it is to be called, and what is built beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builds.planning import Options, Plan
from jobcontrol.exceptions import InvalidRequest, ProtectedJob
from jobs import registry, signatures, tags
from jobs.models import Job, JobDependency

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, kw_only=True)
class Request:
    """A wish for a build.

    `args` and `kwargs` (decoded values, which may hold `!retval` of a dependency) stand in place
    of the job's own; None keeps those. `dependency_builds` pins inputs by job id; the others are
    the latest successes. `options` say what is built beside it. `expected` is the plan that was
    looked at: another one is not started. The same `nonce` again gives the same build again.
    """

    job: Job
    trigger: str
    requested_by: User | None = None
    arm: bool = False
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    dependency_builds: Mapping[str, int] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    expected: Plan | None = None
    nonce: str = ""


def refuse_unarmed(*, job: Job, arm: bool) -> None:
    """Raise ProtectedJob when the job is protected and the request does not arm it."""
    if job.protected and not arm:
        raise ProtectedJob(job.id)


def refuse_unarmed_jobs(protected: Sequence[str], *, arm: bool) -> None:
    """Raise ProtectedJob when the request does not arm its protected jobs, given by id."""
    if protected and not arm:
        raise ProtectedJob(*protected)


def snapshot_of_job(job: Job) -> tuple[dict[str, Any], str]:
    """Return the configuration that a plain build keeps, and its text."""
    return job.config, job.config_text


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
        return snapshot_of_job(job)
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
