"""The last builds of jobs: the strip on a job's page, and the rows of the grid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Left
from django.utils import timezone

from builds.models import Build, BuildQuerySet
from builds.pages.figures import Figures, Scale, Trend, figures, trend
from builds.status import reason
from builds.templatetags.builds_text import first_line, seconds
from jobs.models import Job

IN_STRIP = 50
IN_GRID = 20  # per job
FIRST_CHARS = 200  # of a message, which may be long

_CHANGING = ("cancel_requested", "deleting", "keep")
_LIGHT = ("pk", "job", "status", "created", "start_time", "end_time", "exception_type")


@dataclass(frozen=True, slots=True)
class Bar:
    """A build, in the words that the page has for it: there may be a thousand of them."""

    number: str  # a text, as templates take twice as long for numbers
    kind: str  # its status, as the style sheet has it
    mark: str  # the name of its shape: one for all that have not begun
    seconds: float | None  # that it took, or has run for
    text: str  # how long it took, and which moment follows
    at: str  # that moment
    shown: str  # the same in the site's zone
    reason: str
    height: int = 0  # none for a build that never ran
    top: int = 0
    is_cut: bool = False

    @property
    def runs(self) -> bool:
        """Whether its duration still grows."""
        return self.kind == "running"


@dataclass(frozen=True)
class Strip:
    """The last builds of a job, newest first, and what they come to."""

    bars: tuple[Bar, ...]
    figures: Figures
    trend: Trend | None
    unfinished: int
    median_line: int | None  # pixels below the top of the chart
    p95_line: int | None


def newest_of_strip(job: Job) -> list[Build]:
    """Return the builds of a job that its strip shows, and what decides how its page looks."""
    return list(_light(_newest_of(job), *_CHANGING)[:IN_STRIP])


def strip(builds: Sequence[Build], now: datetime) -> Strip:
    """Return the strip of builds, which come newest first."""
    durations = [took for one in builds if (took := one.duration(now)) is not None]
    numbers = figures_of(builds)
    scale = Scale.of(durations, [] if numbers.p95 is None else [numbers.p95])
    return Strip(
        bars=tuple(bar(one, now, scale) for one in builds),
        figures=numbers,
        trend=trend(_successes(builds)),
        unfinished=sum(not one.finished for one in builds),
        median_line=None if numbers.median is None else scale.line(numbers.median),
        p95_line=None if numbers.p95 is None else scale.line(numbers.p95),
    )


def figures_of(builds: Iterable[Build]) -> Figures:
    """Return how builds ended, and how long the successful ones took."""
    found = list(builds)
    count = Counter(one.status for one in found)
    return figures(
        succeeded=sum(count[status] for status in Build.SUCCESS),
        failed=count[Build.Status.FAILED],
        cancelled=count[Build.Status.CANCELLED],
        durations=_successes(found),
    )


def recent_builds(job_ids: Collection[str]) -> dict[str, list[Build]]:
    """Return the last builds of each of some jobs, newest first, by job id.

    Two queries. The first finds by a few steps into an index how far back each job's go, so that
    the second reads no more than these, however many builds a job has and however long ago.
    """
    if not job_ids:
        return {}
    own = Build.objects.filter(job=OuterRef("pk")).newest_first().values("pk")
    jobs = Job.objects.filter(pk__in=job_ids).order_by()
    oldest = jobs.annotate(oldest=Subquery(own[IN_GRID - 1 : IN_GRID]))
    wanted, short = Q(), []
    for name, number in oldest.values_list("pk", "oldest"):
        if number is None:
            short.append(name)
        else:
            wanted |= Q(job=name, pk__gte=number)
    if short:
        wanted |= Q(job__in=short)
    found: dict[str, list[Build]] = defaultdict(list)
    for build in _light(Build.objects.filter(wanted).newest_first()):
        if len(found[build.job_id]) < IN_GRID:  # one may have come in between
            found[build.job_id].append(build)
    return dict(found)


def bar(build: Build, now: datetime, scale: Scale | None = None) -> Bar:
    """Return a build for the grid, or by a scale for the strip."""
    took = build.duration(now)
    at = build.start_time or build.created
    ended = took is not None and build.status != Build.Status.RUNNING
    return Bar(
        number=str(build.pk),
        kind=build.status.lower(),
        mark="waiting" if build.status in Build.UNSTARTED else build.status.lower(),
        seconds=took,
        text=(f", took {seconds(took)}" if ended else "")
        + (", started" if build.start_time else ", asked for"),
        at=at.isoformat(),
        shown=f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}",
        reason=_reason(build),
        **(_drawn(scale, took) if scale is not None and took is not None else {}),
    )


def _newest_of(job: Job) -> BuildQuerySet:
    """Return the builds of a job, newest first: by the index of jobs and builds, whatever happens.

    PostgreSQL takes the builds of a job for spread evenly over the table, and would go through it
    from the end until enough of them came, past newer builds of others. In the order of both
    columns, and for two jobs (none is without an id), only that index will do.
    """
    if connection.vendor == "postgresql":
        return Build.objects.filter(job__in=[job.pk, ""]).order_by("job_id", "-pk")
    return Build.objects.filter(job=job).newest_first()


def _light(builds: BuildQuerySet, *more: str) -> BuildQuerySet:
    """Load as little of each build as is shown."""
    return builds.annotate(head=Left("exception_message", FIRST_CHARS)).only(*_LIGHT, *more)


def _reason(build: Build) -> str:
    """Return the first line of why it failed or was skipped, after a colon."""
    head: str = build.head  # type: ignore[attr-defined]  # the whole is not loaded
    if not (head or build.exception_type):
        return ""
    build.exception_message = head
    text = first_line(reason(build))
    return f": {text}" if text else ""


def _drawn(scale: Scale, took: float) -> dict[str, Any]:
    return {"height": scale.height(took), "top": scale.line(took), "is_cut": scale.is_cut(took)}


def _successes(builds: Iterable[Build]) -> list[float]:
    """Return how long the successful builds took, in the order in which they come."""
    good = (one for one in builds if one.status == Build.Status.SUCCESSFUL)
    times = ((one.start_time, one.end_time) for one in good)
    return [(end - start).total_seconds() for start, end in times if start and end]
