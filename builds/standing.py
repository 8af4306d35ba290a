"""How the jobs of the file stand as a whole: for the dashboard, which asks again and again.

Whether any job is outdated follows from the newest builds of all of them, so with many jobs an
answer is used for a while: as long as looking costs a small part of a web process's time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice

from builds.status import why_outdated
from jobs.models import Job

QUICK_SECONDS = 0.03  # what is looked up so fast is not remembered at all
SHARE = 100  # else it is used for so many times the time that the look took
LONGEST_SECONDS = 30.0
NAMED = 20  # jobs of each kind


@dataclass(frozen=True)
class OutdatedJob:
    """A job with why it is outdated."""

    job: Job
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """All jobs of the file: how many there are, and the first of those that need somebody."""

    jobs: int = 0
    outdated: tuple[OutdatedJob, ...] = ()
    outdated_count: int = 0
    broken: tuple[Job, ...] = ()  # with a problem: they can't run
    broken_count: int = 0


@dataclass
class _Memory:
    """What was found when it was last looked for, in this process."""

    found: Standing = field(default_factory=Standing)
    until: float = float("-inf")  # as time.monotonic() counts


_memory = _Memory()


def standing() -> Standing:
    """Return how the jobs stand, or how they did a few seconds ago."""
    start = time.monotonic()
    if start < _memory.until:
        return _memory.found
    found = _look()
    took = time.monotonic() - start
    _memory.found = found
    kept = 0.0 if took < QUICK_SECONDS else min(SHARE * took, LONGEST_SECONDS)
    _memory.until = start + kept
    return found


def forget() -> None:
    """Look again next time."""
    _memory.until = float("-inf")


def _look() -> Standing:
    jobs, reasons = why_outdated()
    by_id = {job.pk: job for job in jobs}
    stale = [by_id[name] for name in islice(reasons, NAMED)]
    return Standing(
        jobs=len(jobs),
        outdated=tuple(OutdatedJob(job, reasons[job.pk]) for job in stale),
        outdated_count=len(reasons),
        broken=tuple(job for job in jobs if job.problem)[:NAMED],
        broken_count=sum(bool(job.problem) for job in jobs),
    )
