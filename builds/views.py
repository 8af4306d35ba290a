"""What the admin pages of jobs show, as plain values for their templates."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from builds import services
from builds.models import Build
from builds.status import job_status, reason
from jobs.models import Job

BUILDS_SHOWN = 10  # on a job's page


def job_page(job: Job, *, may_build: bool) -> dict[str, Any]:
    """Return how the job stands, whether it can be built now (or why not), its newest builds."""
    builds = Build.objects.filter(job=job).newest_first().select_related("requested_by")
    return {
        "status": job_status(job),
        "may_build": may_build,
        "why_not": why_no_quick_build(job) if may_build else "",
        "builds": [build_line(build) for build in builds[:BUILDS_SHOWN]],
    }


def why_no_quick_build(job: Job) -> str:
    """Return why a plain click can't build the job; empty when it can."""
    if job.protected:
        return "This job is protected: it is built only by a request that arms it."
    return services.why_not_buildable(job)


def build_line(build: Build) -> dict[str, Any]:
    """Return a build for a row of a list."""
    return {
        "build": build,
        "duration": build.duration(timezone.now()),
        "reason": reason(build),
    }
