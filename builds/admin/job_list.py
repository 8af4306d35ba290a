"""The list of jobs: where each stands, looked up for the whole page at once, and its filters."""
# ruff: noqa: ARG002 - the signatures are Django's

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from builds.admin import asking
from builds.admin.filters import MENU
from builds.admin.shared import ListOfOurs
from builds.models import Build
from builds.pages.schedule import next_times
from builds.readiness import why_not
from builds.status import (
    FAILED,
    NOT_BUILT,
    OUTDATED,
    SUCCESS,
    JobStatus,
    statuses_of,
    with_builds_shown,
)
from jobs.admin import ProblemFilter, TagFilter
from jobs.models import Job

DEPENDENCIES_SHOWN = 6


@dataclass(frozen=True)
class JobRow:
    """What the cells of one job need."""

    status: JobStatus
    why_not: str
    may_run: bool
    may_arm: bool
    may_see_builds: bool
    is_paused: bool
    next_run: datetime | None

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The first jobs that it needs."""
        return self.status.dependencies[:DEPENDENCIES_SHOWN]

    @property
    def more_dependencies(self) -> int:
        """How many further jobs it needs."""
        return len(self.status.dependencies) - len(self.dependencies)


class ListOfJobs(ListOfOurs):
    """Jobs, searched and filtered."""

    @property
    def known_statuses(self) -> Mapping[str, JobStatus]:
        """What the filter by status looked up already: without builds, see `builds.status`."""
        chosen = (spec for spec in self.filter_specs if isinstance(spec, StatusFilter))
        return next((spec.statuses for spec in chosen), {})

    def shown(self) -> list[Job]:
        """Return the jobs of the page, without one that came after the filter had looked."""
        known = self.known_statuses
        return [job for job in self.result_list if not known or job.pk in known]

    @cached_property
    def knows_any_job(self) -> bool:
        """Whether there is any job at all."""
        return Job.objects.exists()


class JobChangeList(ListOfJobs):
    """Looks up where the jobs of the shown page stand, all at once."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then the states of its jobs."""
        super().get_results(request)
        jobs: list[Any] = self.shown()
        known = self.known_statuses
        names = [job.pk for job in jobs]
        statuses = with_builds_shown(known, names) if known else statuses_of(names)
        reasons = why_not(jobs, statuses)
        rights = {
            "may_run": asking.may_run(request),
            "may_arm": asking.may_arm(request),
            "may_see_builds": request.user.has_perm("builds.view_build"),
        }
        for job in jobs:
            job.row = JobRow(
                statuses[job.pk],
                reasons[job.pk],
                **rights,
                is_paused=bool(job.schedules) and hasattr(job, "schedule_pause"),
                next_run=next((due for due, _ in next_times(job, 1)), None),
            )
        self.result_list = jobs


def row_of(job: Job) -> JobRow:
    """Return what `JobChangeList` looked up."""
    row: JobRow = job.row  # type: ignore[attr-defined]
    return row


# States that follow from those of other jobs: all of them are looked at.
_STATES: dict[str, tuple[str, Callable[[JobStatus], bool]]] = {
    SUCCESS: ("success", lambda status: status.status == SUCCESS),
    OUTDATED: ("outdated", lambda status: status.status == OUTDATED),
    FAILED: ("failed, never a success", lambda status: status.status == FAILED),
    NOT_BUILT: ("not built", lambda status: status.status == NOT_BUILT),
    "blocked": ("needs a build of another job", lambda status: bool(status.missing)),
}


def _ended_badly(jobs: QuerySet[Job]) -> QuerySet[Job]:
    bad = (Build.Status.FAILED, Build.Status.CANCELLED)
    newest = Build.objects.filter(job=OuterRef("pk")).finished().newest_first()
    return jobs.alias(ended=Subquery(newest.values("status")[:1])).filter(ended__in=bad)


def _unfinished(jobs: QuerySet[Job]) -> QuerySet[Job]:
    waiting = Build.objects.filter(status__in=Build.UNFINISHED).order_by()
    return jobs.filter(pk__in=waiting.values("job"))


# What a job's own builds say, the database finds.
_OF_BUILDS: dict[str, tuple[str, Callable[[QuerySet[Job]], QuerySet[Job]]]] = {
    "last_failed": ("last build failed", _ended_badly),
    "unfinished": ("running or waiting", _unfinished),
}
_OFFERED = (SUCCESS, OUTDATED, FAILED, NOT_BUILT, "last_failed", "unfinished", "blocked")


class StatusFilter(admin.SimpleListFilter):
    """Jobs by where they stand."""

    title = "status"
    parameter_name = "status"
    template = MENU
    statuses: Mapping[str, JobStatus] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer each state."""
        labels = {name: label for name, (label, _) in [*_STATES.items(), *_OF_BUILDS.items()]}
        return [(name, labels[name]) for name in _OFFERED]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        """Keep the jobs in the chosen state, which follows from their builds."""
        chosen = str(self.value())
        if chosen in _OF_BUILDS:
            return _OF_BUILDS[chosen][1](queryset)
        if chosen not in _STATES:
            return queryset
        fits = _STATES[chosen][1]
        names = queryset.order_by().values_list("pk", flat=True)
        self.statuses = statuses_of(names, with_builds=False)
        fitting = [name for name, status in self.statuses.items() if fits(status)]
        others = self.statuses.keys() - set(fitting)
        if len(others) < len(fitting):  # each name takes time
            return queryset.exclude(pk__in=others)
        return queryset.filter(pk__in=fitting)


class TagMenu(TagFilter):
    """Jobs by their tags."""

    template = MENU


class ProblemMenu(ProblemFilter):
    """Jobs by whether they can run."""

    template = MENU
