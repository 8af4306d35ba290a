"""How often an open page asks whether something changed."""

from __future__ import annotations

from collections.abc import Iterable

from builds.deletion_models import Deletion
from builds.models import Build
from builds.plan_status import PlanStatus
from builds.status import JobStatus

# Seconds between two looks.
RUNNING = 2.0  # at what runs
WAITING = 3.0
QUIET = 10.0  # where something may begin at any time
SELDOM = 30.0  # where each look goes through all jobs
NEVER = 0.0
LARGE_PLAN = 200  # builds, whose page takes longer to make


def of_build(build: Build, deletion: Deletion | None) -> float:
    """Return the seconds for a build's page."""
    if not build.finished:
        return RUNNING if build.started else WAITING
    return WAITING if deletion is not None and deletion.state in Deletion.UNDER_WAY else NEVER


def of_plan(status: PlanStatus) -> float:
    """Return the seconds for a plan's page."""
    if status.finished:
        return NEVER
    return QUIET if status.total > LARGE_PLAN else RUNNING


def of_job(status: JobStatus) -> float:
    """Return the seconds for a job's page."""
    return WAITING if status.unfinished else QUIET


def of_grid(rows: Iterable[Iterable[Build]], *, looks_at_all: bool) -> float:
    """Return the seconds for the grid, by the builds that it shows and by what a look costs."""
    if looks_at_all:
        return SELDOM
    return WAITING if any(not build.finished for row in rows for build in row) else QUIET


def of_graph(*, is_running: bool) -> float:
    """Return the seconds for the graph of jobs."""
    return WAITING if is_running else QUIET


def of_rows(changing: Iterable[bool]) -> float:
    """Return the seconds for a list, given which of its rows wait or run."""
    return WAITING if any(changing) else QUIET
