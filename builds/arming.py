"""Arming: the second, separate click that lets protected jobs start.

A token says that one user, in one session, has just seen exactly what would run. It is signed,
valid for a minute and once; any change of the user, the session, a job's configuration, its
arguments or its inputs makes it worthless, and so does any change of a plan.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.db import IntegrityError, transaction
from django.utils import timezone

from builds import planning, services
from builds.plan_models import Plan
from builds.services import Request
from builds.services.inputs import inputs_or_refusals
from builds.token_models import UsedNonce
from jobcontrol.exceptions import JobControlException
from jobs import tags
from jobs.models import Job

ARMING_SECONDS = 60
_SALT = "jobcontrol.arming"


class ArmingRefused(JobControlException):
    """A token does not arm this request; the text says why and what to do."""


@dataclass(frozen=True)
class Resumption:
    """What is armed when a plan is resumed: the plan, and what would be built again."""

    plan: Plan
    again: planning.Plan


Armed = Request | Resumption


def make_token(*, user: Any, session_key: str, requests: Sequence[Armed]) -> str:
    """Return a token that arms these very requests for this user and session.

    Raises what choosing their inputs, or planning, raises: MissingDependencies, InvalidRequest.
    """
    content = _content(user, session_key, requests)
    return TimestampSigner(salt=_SALT).sign(f"{secrets.token_urlsafe(16)}.{content}")


def armed_until() -> datetime:
    """Return until when a token made now is good."""
    return timezone.now() + timedelta(seconds=ARMING_SECONDS)


def redeem(token: str, *, user: Any, session_key: str, requests: Sequence[Armed]) -> None:
    """Use a token up; raises ArmingRefused unless it arms these very requests, now.

    To be called in the transaction that records the builds, so that neither stands alone.
    """
    try:
        value = TimestampSigner(salt=_SALT).unsign(token, max_age=ARMING_SECONDS)
    except SignatureExpired:
        raise ArmingRefused(
            f"the arming is older than {ARMING_SECONDS} seconds. Arm it again."
        ) from None
    except BadSignature:
        raise ArmingRefused("this is not armed. Arm it first.") from None
    nonce, _, content = value.partition(".")
    if content != _content(user, session_key, requests):
        raise ArmingRefused("what would run is not what was armed. Look at it and arm it again.")
    try:
        with transaction.atomic():
            UsedNonce.objects.create(nonce=f"arming:{nonce}")
    except IntegrityError:
        raise ArmingRefused("this arming was used before. Arm it again.") from None


def _content(user: Any, session_key: str, requests: Sequence[Armed]) -> str:
    """Return a digest of who asks and of all that decides what would run."""
    text = json.dumps([user.pk, session_key, _described(requests)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(requests: Sequence[Armed]) -> list[dict[str, Any]]:
    plain = [one for one in requests if isinstance(one, Request) and one.options.are_plain]
    inputs = inputs_or_refusals([(one.job, one.dependency_builds) for one in plain])
    hashes = _hashes(one.job.pk for one in plain)
    described = []
    for request, found in zip(plain, inputs, strict=True):
        if isinstance(found, JobControlException):
            raise found
        config = hashes[request.job.pk]
        described.append(_call(request) | {"config": config, "inputs": found})
    for one in requests:
        if isinstance(one, Resumption):
            described.append({"resumes": one.plan.pk} | _of_plan(one.again))
        elif not one.options.are_plain:
            plan = one.expected or services.plan_for(one)
            described.append(_call(one) | _options(one) | _of_plan(plan))
    return described


def _call(request: Request) -> dict[str, Any]:
    return {
        "job": request.job.pk,
        "args": None if request.args is None else tags.encode(request.args),
        "kwargs": None if request.kwargs is None else tags.encode(request.kwargs),
    }


def _options(request: Request) -> dict[str, Any]:
    options = request.options
    return {
        "dependencies": str(options.dependencies),
        "rebuild": sorted(options.rebuild),
        "rebuild_all": options.rebuild_all,
        "build_now": sorted(options.build_now),
        "uses": dict(request.dependency_builds),
    }


def _of_plan(plan: planning.Plan) -> dict[str, Any]:
    """Return what would be built, with the configurations, and what would not."""
    hashes = _hashes(build.job_id for build in plan.builds)
    return {
        "builds": [
            [build.job_id, hashes[build.job_id], dict(build.inputs), build.protected]
            for build in plan.builds
        ],
        "blocked": [[blocked.job_id, blocked.reason] for blocked in plan.blocked],
    }


def _hashes(names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of configurations as they stand now, not as a page loaded them."""
    jobs = Job.objects.filter(pk__in=list(names))
    return dict(jobs.values_list("pk", "config_hash"))
