"""A build's progress as a tree of bars that know how fast they went, and how long they are silent.

What can't be known is None: of rows that an older version wrote, of bars reported but once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models.functions import Left, Now
from django.utils import timezone

from builds.models import Build, BuildProgress
from builds.progress import path_digest, path_text, read_paths

LONG_LIST = 200  # bars below one; of a longer list each hundred has a bar of its own
RANGE = 100
STATUS_SHOWN = 500  # characters
# A rate over less would say more of chance than of the job.
SHORTEST = 1.0
SLOWEST = 0.1 / 3600
# A bar stands still when it is silent for longer than 30 seconds (steps of that length are
# common), and for five times as long as usual between two of its reports: a job that reports each
# hour is not suspect after a minute.
STILL_SECONDS = 30.0
STILL_GAPS = 5
LONGEST_LEFT = 9_999 * 3600.0  # more is no forecast


class Report(NamedTuple):
    """What a row says; moments are seconds since 1970 in database time."""

    path: tuple[str, ...]
    current: int
    total: int
    status_line: str
    updated: float
    first_current: int | None = None
    seconds: float | None = None
    reports: int | None = None


@dataclass(eq=False)
class Bar:
    """One bar, and those below it.

    Numbers that were not reported are the sums of those of the children. `updated`, `began` and
    `reports` are of the whole branch: a bar does not stand still while one below it moves.
    """

    name: str | None
    path: tuple[str, ...] = ()
    report: Report | None = None
    children: list[Bar] = field(default_factory=list)
    is_range: bool = False
    current: int = 0
    total: int = 0
    first_current: int | None = None
    updated: float | None = None
    began: float | None = None
    reports: int = 0
    begun: bool = False

    @cached_property
    def key(self) -> str:
        """What the bar is called in addresses and in the page: the same at each refresh."""
        # No name holds a NUL, so that no bar is called as a range is.
        names = (*self.path, f"\0{self.name}") if self.is_range else self.path
        return path_digest(path_text(names))[:12]

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return self.current >= self.total > 0

    @property
    def seconds(self) -> float | None:
        """How long it took from the first report to the last."""
        if self.report is not None:
            return self.report.seconds if (self.report.reports or 0) > 1 else None
        if self.began is None or self.updated is None:
            return None
        return max(self.updated - self.began, 0.0)

    @property
    def rate(self) -> float | None:
        """Steps in a second, on average since the first report."""
        seconds, first = self.seconds, self.first_current
        if seconds is None or seconds < SHORTEST or first is None or self.current <= first:
            return None
        rate = (self.current - first) / seconds
        return rate if rate >= SLOWEST else None

    @property
    def still_after(self) -> float:
        """For how many seconds it may be silent before it stands still."""
        if self.began is None or self.updated is None or self.reports < 2:
            return STILL_SECONDS
        gap = max(self.updated - self.began, 0.0) / (self.reports - 1)
        return max(STILL_SECONDS, STILL_GAPS * gap)

    def silence(self, now: float) -> float | None:
        """For how many seconds nothing came."""
        return None if self.updated is None else max(now - self.updated, 0.0)

    def left(self, now: float) -> float | None:
        """How many seconds it will take at its rate, from now on."""
        rate, silence = self.rate, self.silence(now)
        if rate is None or silence is None or not 0 <= self.current < self.total:
            return None
        left = (self.total - self.current) / rate - silence
        return left if 0 < left <= LONGEST_LEFT else None

    def walk(self) -> Iterator[Bar]:
        """Yield the bars of the branch, each before its children."""
        waiting = [self]
        while waiting:
            bar = waiting.pop()
            yield bar
            waiting.extend(reversed(bar.children))


COLUMNS = (
    *("build_id", "group_name", "current", "total"),
    Left("status_line", STATUS_SHOWN + 1),
    *("updated", "first_current", "seconds", "reports"),
)


def read_bars(build: Build) -> Bar:
    """Return the root of the tree that a build reported."""
    rows = BuildProgress.objects.filter(build=build).order_by("position")
    return make_bars(report for _, report in reports_of(list(rows.values_list(*COLUMNS))))


def read_few_bars(builds: Iterable[Build], most: int) -> dict[int, Bar] | None:
    """Return the roots of builds' trees by number; None for more than `most` bars in all."""
    numbers = [build.pk for build in builds]
    rows = BuildProgress.objects.filter(build__in=numbers).order_by("build_id", "position")
    found = list(rows.values_list(*COLUMNS)[: most + 1])
    if len(found) > most:
        return None
    reports: dict[int, list[Report]] = {number: [] for number in numbers}
    for number, report in reports_of(found):
        reports[number].append(report)
    return {number: make_bars(some) for number, some in reports.items()}


def reports_of(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Report]]:
    """Yield what rows of `COLUMNS` say, each with the number of its build."""
    paths = read_paths(row[1] for row in rows)
    for path, (number, _, current, total, text, updated, *pace) in zip(paths, rows, strict=True):
        yield number, Report(path, current, total, text, updated.timestamp(), *pace)


def database_now(build: Build) -> datetime:
    """Return this moment in database time, by which reports are stamped."""
    now: datetime | None = Build.objects.filter(pk=build.pk).values_list(Now(), flat=True).first()
    return now or timezone.now()  # the build may just have been deleted


def make_bars(reports: Iterable[Report]) -> Bar:
    """Return the root of the tree of these reports, which are in their order of appearance."""
    root = Bar(None)
    known: dict[tuple[str, ...], Bar] = {(): root}
    for report in reports:
        depth = len(report.path)
        while report.path[:depth] not in known:
            depth -= 1
        bar = known[report.path[:depth]]
        for end in range(depth + 1, len(report.path) + 1):
            path = report.path[:end]
            below = known[path] = Bar(path[-1], path)
            bar.children.append(below)
            bar = below
        bar.report = report
    for bar in reversed(list(root.walk())):
        if len(bar.children) > LONG_LIST:
            bar.children = _ranges(bar)
        _sum_up(bar)
    return root


def _ranges(bar: Bar) -> list[Bar]:
    """Return bars for each hundred of a long list."""
    ranges = []
    for start in range(0, len(bar.children), RANGE):
        part = bar.children[start : start + RANGE]
        made = Bar(f"{start + 1}–{start + len(part)}", bar.path, children=part, is_range=True)
        _sum_up(made)
        ranges.append(made)
    return ranges


def _take_over(bar: Bar, report: Report) -> None:
    """Fill in what follows from the report of a bar without children, as most are."""
    bar.current, bar.total, bar.first_current = report.current, report.total, report.first_current
    bar.reports = report.reports or 1
    bar.begun = report.current > 0 or bar.reports > 1
    bar.updated = report.updated
    bar.began = None if report.seconds is None else report.updated - report.seconds


def _sum_up(bar: Bar) -> None:
    """Fill in what follows from a bar's report and its children."""
    report, children = bar.report, bar.children
    if report is not None and not children:
        _take_over(bar, report)
        return
    began = [child.began for child in children]
    updated = [child.updated for child in children]
    bar.reports = sum(child.reports for child in children)
    bar.begun = any(child.begun for child in children)
    if report is None:
        bar.current = sum(child.current for child in children)
        bar.total = sum(child.total for child in children)
        firsts = [child.first_current for child in children]
        known = [first for first in firsts if first is not None]
        bar.first_current = sum(known) if firsts and len(known) == len(firsts) else None
    else:
        bar.current, bar.total = report.current, report.total
        bar.first_current = report.first_current
        bar.reports += report.reports or 1
        bar.begun = bar.begun or report.current > 0 or (report.reports or 0) > 1
        updated.append(report.updated)
        began.append(None if report.seconds is None else report.updated - report.seconds)
    bar.updated = max((one for one in updated if one is not None), default=None)
    starts = [one for one in began if one is not None]
    bar.began = min(starts) if starts and len(starts) == len(began) else None
