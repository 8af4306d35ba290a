"""Arming: the second, separate click that lets protected jobs start.

A token says that one user, in one session, has just seen exactly what would run. It is signed,
valid for a minute and once; any change of the user, the session, a job's configuration, its
arguments or its inputs makes it worthless.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.db import IntegrityError, transaction
from django.utils import timezone

from builds.models import UsedNonce
from builds.services import Request
from builds.services.inputs import inputs_or_refusals
from jobcontrol.exceptions import JobControlException
from jobs import tags
from jobs.models import Job

ARMING_SECONDS = 60
_SALT = "jobcontrol.arming"


class ArmingRefused(JobControlException):
    """A token does not arm this request; the text says why and what to do."""


def make_token(*, user: Any, session_key: str, requests: Sequence[Request]) -> str:
    """Return a token that arms these very requests for this user and session.

    Raises what choosing their inputs raises: MissingDependencies, InvalidRequest.
    """
    content = _content(user, session_key, requests)
    return TimestampSigner(salt=_SALT).sign(f"{secrets.token_urlsafe(16)}.{content}")


def armed_until() -> datetime:
    """Return until when a token made now is good."""
    return timezone.now() + timedelta(seconds=ARMING_SECONDS)


def redeem(token: str, *, user: Any, session_key: str, requests: Sequence[Request]) -> None:
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


def _content(user: Any, session_key: str, requests: Sequence[Request]) -> str:
    """Return a digest of who asks and of all that decides what would run."""
    # As they stand now, not as the page loaded them.
    jobs = Job.objects.filter(pk__in=[request.job.pk for request in requests])
    hashes = dict(jobs.values_list("pk", "config_hash"))
    inputs = inputs_or_refusals([(one.job, one.dependency_builds) for one in requests])
    described = []
    for request, found in zip(requests, inputs, strict=True):
        if isinstance(found, JobControlException):
            raise found
        described.append(
            {
                "job": request.job.pk,
                "config": hashes[request.job.pk],
                "args": None if request.args is None else tags.encode(request.args),
                "kwargs": None if request.kwargs is None else tags.encode(request.kwargs),
                "inputs": found,
            }
        )
    text = json.dumps([user.pk, session_key, described], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
