"""Automatic rebuilds: a job with `rebuild: auto` follows the newest successes of what it needs."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

from builds import story
from builds.models import Build, BuildDependency
from builds.services.inputs import choose_inputs, lock_inputs
from builds.services.requests import request_build
from builds.status import pinned_builds
from jobcontrol.exceptions import JobControlException
from jobs.models import Job, JobDependency

logger = logging.getLogger(__name__)

Status = Build.Status
Trigger = Build.Trigger

# Nobody chose the inputs of these: they took the latest, and may take later ones while they wait.
_WITH_LATEST = (Trigger.REBUILD, Trigger.SCHEDULE, Trigger.QUICK)


def jobs_to_rebuild() -> list[str]:
    """Return the jobs whose newest build does not use the newest success of a dependency.

    Only those that follow by themselves, in one query. Some may have a reason not to: see
    `rebuild_job`.
    """
    links = JobDependency.objects.filter(
        job__rebuilds_itself=True, job__protected=False, job__retired=False
    )
    asked = Build.objects.filter(job=OuterRef("job")).exclude(status=Status.CREATED)
    latest = Build.objects.usable().filter(job=OuterRef("depends_on"))
    used = BuildDependency.objects.filter(build=OuterRef("newest"), job=OuterRef("depends_on"))
    found = (
        links.annotate(
            newest=Subquery(asked.newest_first().values("pk")[:1]),
            latest=Subquery(latest.newest_first().values("pk")[:1]),
        )
        .annotate(used=Subquery(used.values("dep_build_number")[:1]))
        .filter(Q(used=None) | Q(latest__gt=F("used")), latest__isnull=False)
        .order_by("job__position", "job")
    )
    return list(dict.fromkeys(found.values_list("job_id", flat=True)))


@transaction.atomic
def rebuild_job(*, job_id: str) -> Build | None:
    """Let the job follow the newest inputs; return the build that does, None when none is to.

    A build that waits for a worker is given them; while one runs, or waits in a plan, nothing is
    done yet. Inputs that the file pins are no reason, and a job that can't be built waits silently:
    its page says why. All this under the lock of the job's row, so that of many callers one acts.
    """
    jobs = Job.objects.select_for_update(skip_locked=True, no_key=True)
    job = jobs.filter(pk=job_id, rebuilds_itself=True, protected=False, retired=False).first()
    if job is None:
        return None
    own = Build.objects.filter(job=job)
    if own.filter(status__in=(Status.WAITING, Status.RUNNING)).exists():
        return None
    newest = own.exclude(status=Status.CREATED).newest_first().first()
    try:
        newer = _newer_inputs(job, newest)
        if not newer:
            return None
        if own.queued().exists():
            return _hand_over(newest, newer) if newest else None
        return request_build(job=job, trigger=Trigger.REBUILD)
    except JobControlException as error:
        logger.debug("%s is not rebuilt: %s", job, error)
        return None


def _newer_inputs(job: Job, newest: Build | None) -> dict[str, int]:
    """Return the inputs that a build asked for now would have and the newest build has not."""
    used = _used(newest) if newest else {}
    pinned = pinned_builds(job)
    inputs = choose_inputs(job, {})
    return {
        name: number
        for name, number in inputs.items()
        if name not in pinned and number > used.get(name, 0)
    }


def _used(build: Build) -> dict[str, int]:
    return dict(build.inputs.values_list("job_id", "dep_build_number"))


def _hand_over(build: Build, newer: dict[str, int]) -> Build | None:
    """Give newer inputs to a build that waits for a worker, unless somebody chose its inputs."""
    may_change = build.trigger in _WITH_LATEST and build.plan_id is None
    if not may_change or not newer.keys() <= _used(build).keys():
        return None
    waiting = Build.objects.queued().filter(pk=build.pk, deleting=False)
    if not waiting.select_for_update(skip_locked=True).exists():
        return None
    lock_inputs([(build.job, newer)])
    for name, number in newer.items():
        build.inputs.filter(job=name).update(dep_build=number, dep_build_number=number)
    numbers = ",".join(map(str, newer.values()))
    facts: dict[str, Any] = {"build": build.pk, "job": build.job_id, "inputs": numbers}
    transaction.on_commit(lambda: story.tell(logger, "repinned", **facts))
    return build
