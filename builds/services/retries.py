"""Trying a failed build again: a new build with the same configuration and inputs."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction

from builds import queue, story
from builds.database_time import seconds_from_now
from builds.models import Build, BuildDependency, BuildPayload
from builds.services import observations
from jobs.policies import RetryPolicy, spoken

logger = logging.getLogger(__name__)


def retry_build(*, build_id: int, kind: str) -> Build | None:
    """Ask for a failed build again if its own configuration says so; return the new build.

    It waits as long as the policy says, in database time, and is linked to the first attempt. A
    protected job is tried again under the arming of that one. In the caller's transaction.
    """
    build = Build.objects.select_related("job", "payload").get(pk=build_id)
    policy = policy_of(build)
    if policy is None or kind not in policy.on or build.attempt > policy.count:
        return None
    if build.job.retired or build.deleting:
        return None
    delay = policy.delay_of(build.attempt)
    again = _copy(build, delay)
    wait = f" in {spoken(round(delay, 1))}" if delay else ""
    observations.say(
        build_id=build.pk,
        level=logging.WARNING,
        message=f"It is tried again{wait}, as build #{again.pk}: attempt {again.attempt} of "
        f"{policy.count + 1}.",
    )
    facts: dict[str, Any] = {"build": build.pk, "job": build.job_id, "retry": again.pk}
    facts |= {"attempt": again.attempt, "delay": delay or None}
    transaction.on_commit(lambda: story.tell(logger, "retried", **facts))
    transaction.on_commit(partial(queue.wake, queue=again.queue))
    return again


def policy_of(build: Build) -> RetryPolicy | None:
    """Return the `retries` of the build's own configuration; None where there are none."""
    given = build.payload.config.get("retries")
    try:
        return None if given is None else RetryPolicy.read(given)
    except ValueError as error:
        # A block that was stored before the key meant anything.
        logger.warning("build #%s is not tried again: its 'retries' %s", build.pk, error)
        return None


def _copy(build: Build, delay: float) -> Build:
    again = Build.objects.create(
        job=build.job,
        status=Build.Status.QUEUED,
        trigger=Build.Trigger.RETRY,
        requested_by_id=build.requested_by_id,
        armed=build.armed,
        config_revision_id=build.config_revision_id,
        priority=build.priority,
        queue=build.queue,
        plan_id=build.plan_id,
        plan_reason=build.plan_reason,
        timeout=build.timeout,
        attempt=build.attempt + 1,
        retry_of_id=build.retry_of_id or build.pk,
        not_before=seconds_from_now(delay) if delay else None,
    )
    payload = build.payload
    BuildPayload.objects.create(build=again, config=payload.config, config_text=payload.config_text)
    BuildDependency.objects.bulk_create(
        BuildDependency(
            build=again,
            job_id=used.job_id,
            dep_build_id=used.dep_build_id,
            dep_build_number=used.dep_build_number,
        )
        for used in build.inputs.order_by("pk")
    )
    _let_users_wait(build, again)
    return again


def _let_users_wait(build: Build, again: Build) -> None:
    """Let what waits for the failed build wait for the new one: the plan has not failed yet."""
    if build.plan_id is None:
        return
    links = BuildDependency.objects.filter(dep_build=build, build__status=Build.Status.WAITING)
    links.update(dep_build=again, dep_build_number=again.pk)
