"""Why jobs can't be built now: for a whole page of them in two queries more than their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builds.services.inputs import usable_builds, wrong_pins
from builds.status import JobStatus, pinned_builds
from jobcontrol.exceptions import MissingDependencies
from jobs.models import Job


def why_not(jobs: Sequence[Job], statuses: Mapping[str, JobStatus]) -> dict[str, str]:
    """Return why each of `jobs` can't be built, in words; "" for those that can.

    Says what `services.why_not_buildable` says of one.
    """
    pins = {job.pk: _pins(job, statuses[job.pk]) for job in jobs}
    numbers = {number for pinned in pins.values() for number in pinned.values()}
    usable = usable_builds(numbers) if numbers else {}
    return {job.pk: _why_not(job, statuses[job.pk], pins[job.pk], usable) for job in jobs}


def _pins(job: Job, status: JobStatus) -> dict[str, int]:
    pinned = pinned_builds(job)
    return {name: number for name, number in pinned.items() if name in status.dependencies}


def _why_not(
    job: Job, status: JobStatus, pins: Mapping[str, int], usable: Mapping[int, str]
) -> str:
    if job.retired:
        return f"job {job.id!r} is no longer in the configuration file."
    wrong = wrong_pins(job, pins, usable)
    if wrong:
        return wrong
    return str(MissingDependencies(job.id, status.missing)) if status.missing else ""
