"""Builds that are claimed, as if by a worker, for tests of leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db.models.functions import Now

from builds import services
from builds.models import Build
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.support.jobs import use_config

ONE_JOB = "jobs:\n  - {id: job, function: 'tests.support.odd_jobs:value', priority: 3}\n"
ELSEWHERE = "other-host:0123456789ab:4321:99"


def requested(count: int = 1) -> list[Build]:
    use_config(ONE_JOB)
    job = Job.objects.get(pk="job")
    return [services.request_build(job=job, trigger="python") for _ in range(count)]


def claimed(worker: str | None = None) -> Build:
    requested()
    made = services.claim(worker=WorkerIdentity.current())
    assert made is not None
    if worker is not None:
        Build.objects.filter(pk=made.pk).update(worker=worker)
        made.refresh_from_db()
    return made


def age(made: Build, seconds: float = 3600) -> None:
    Build.objects.filter(pk=made.pk).update(heartbeat=Now() - timedelta(seconds=seconds))
    made.refresh_from_db()


def settled(wake: Callable[[int], None] = lambda _: None) -> Supervisor:
    """A supervisor that is patient with nobody: it began long ago."""
    made = Supervisor(wake)
    made._new_until = float("-inf")
    return made
