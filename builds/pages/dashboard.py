"""The start page: what runs, what waits and why, what broke, what is out of date, what comes next.

Every list is bounded, and so is what is counted: nothing here grows with the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Case, Count, Exists, F, Max, OuterRef, Value, When, Window
from django.db.models.functions import Left, Now, RowNumber
from django.utils import timezone

from builds import context_processors
from builds.among import among
from builds.crews import Crew, crews, is_alive
from builds.estimates import time_left, usual_durations
from builds.models import Build, BuildProgress
from builds.pages.bars import COLUMNS, Bar, Report, make_bars, reports_of
from builds.pages.progress import ProgressRow, View, row_of
from builds.pages.stamps import stamp_of
from builds.pages.tabs import Tab, tab_of_overview
from builds.progress import ROOT_DIGEST
from builds.schedule_models import ScheduledRun
from builds.services import entries_of
from builds.standing import Standing, standing
from builds.status import reason
from builds.upkeep_models import Cluster
from builds.waiting import Site, inputs_awaited, why_queued
from jobs import registry
from jobs.schedules import Schedule

RUNNING_SHOWN = 20
SHOWN = 10  # of all else
COUNTED = 1_000  # builds that run, or that wait; more are "more than 1000"
BARS_READ = 5_000  # rows of progress, where jobs report no total of all
FAILURES_READ = 100  # the newest; those of one job are one line
FAILURES_LOOKED_AT = 1_000  # to find them among those that failed with another
EVERY_SECONDS = 5.0  # between two looks while the page is open
FIRST_CHARS = 500  # of a message, which may be long
DAY = timedelta(days=1)

_NOT_STARTED = (ScheduledRun.State.MISSED, ScheduledRun.State.REFUSED)
_TIMES = ("created", "start_time", "end_time", "not_before", "cancel_requested")
_LIGHT = ("pk", "job", "status", "queue", "priority", "worker", "in_place", "deleting", *_TIMES)


@dataclass(frozen=True)
class RunningLine:
    """A build that runs."""

    build: Build
    elapsed: float | None
    bar: ProgressRow | None
    left: str


@dataclass(frozen=True)
class QueueLine:
    """A build that waits, and for what."""

    build: Build
    waits_for: str


@dataclass(frozen=True)
class FailureLine:
    """The newest failure of a job; how often it failed, of the failures read."""

    build: Build
    reason: str
    times: int
    mended: bool  # it has succeeded since


@dataclass(frozen=True)
class RunLine:
    """A time at which a job is due by itself."""

    run: ScheduledRun
    entry: Schedule | None
    is_paused: bool


class Look:
    """What the page and its stamp are both made from, looked up once."""

    @cached_property
    def running(self) -> list[Build]:
        """All that runs."""
        return _running()

    @cached_property
    def standing(self) -> Standing:
        """How the jobs stand."""
        return standing()


def dashboard(may: Callable[[str], bool], look: Look) -> dict[str, Any]:
    """Return what the start page shows to somebody who `may` do what; None for what is not theirs.

    `may` is asked with names of permissions.
    """
    running = look.running
    sees_builds = may("builds.view_build")
    clusters = context_processors.clusters()
    return {
        "running": _running_part(running) if sees_builds else None,
        "queue": _queue_part(running, clusters) if sees_builds else None,
        "failures": _failures_part() if sees_builds else None,
        "standing": look.standing if may("jobs.view_job") else None,
        "schedule": _schedule_part() if may("builds.view_scheduledrun") else None,
        "workers": _workers_part(clusters, running) if may("builds.view_cluster") else None,
        "refresh_seconds": EVERY_SECONDS,
        "counted": COUNTED,
        "shown": SHOWN,
    }


def overview_tab(title: str, parts: Mapping[str, Any]) -> Tab:
    """Return the tab of the page: how many builds run, and how many failed within a day."""
    running, failures = parts["running"], parts["failures"]
    return tab_of_overview(
        title,
        _up_to(running["count"], COUNTED) if running else "",
        _up_to(failures["today"], FAILURES_READ) if failures else "",
    )


def _up_to(number: int, most: int) -> str:
    """Return a number that was counted up to `most`; "" for none."""
    return f"{number}{'+' if number >= most else ''}" if number else ""


def dashboard_stamp(look: Look) -> str:
    """Return the page's stamp, by a few steps into indexes.

    While something runs each look is another one, and once in a minute anyway: the page says how
    long things take, and how long ago they were.
    """
    now = timezone.now().timestamp()
    if look.running:
        return stamp_of(now)
    unstarted = Build.objects.filter(status__in=(Build.Status.QUEUED, Build.Status.WAITING))
    clusters = context_processors.clusters()
    facts: list[object] = [
        now // 60,
        sorted(unstarted.order_by().values_list("pk", "status")[:COUNTED]),
        Build.objects.newest_first().values_list("pk", flat=True).first(),
        [(one.pk, one.trouble, one.drain_requested, is_alive(one)) for one in clusters],
        *(look.standing, registry.problems()),
    ]
    return stamp_of(*facts)


# --- What runs ------------------------------------------------------------------------------------


def _running() -> list[Build]:
    """Return all that runs, the newest first: there are hardly more than there are workers."""
    running = Build.objects.running().newest_first().select_related("job")
    return list(running.only(*_LIGHT, "job__title")[:COUNTED])


def _running_part(running: Sequence[Build]) -> dict[str, Any]:
    now = timezone.now()
    shown = running[:RUNNING_SHOWN]
    roots, moment = _roots([build.pk for build in shown])
    usual = usual_durations({build.job_id for build in shown})
    return {
        "lines": [_running_line(one, roots.get(one.pk), usual, now, moment) for one in shown],
        "count": len(running),
        "more": max(len(running) - len(shown), 0),
    }


def _running_line(
    build: Build, root: Bar | None, usual: dict[str, float], now: datetime, moment: float
) -> RunningLine:
    elapsed = build.duration(now)
    current, total = (root.current, root.total) if root else (0, 0)
    left = ""
    if elapsed is not None and build.cancel_requested is None:
        left = time_left(elapsed, current, total, usual.get(build.job_id))
    bar = row_of(root, View(build.status, moment)) if root else None
    return RunningLine(build, elapsed, bar, "" if bar and bar.is_still else left)


def _roots(numbers: Sequence[int]) -> tuple[dict[int, Bar], float]:
    """Return the progress of builds, and this moment in database time.

    Of each one row is read if it reports a total of all, else all its rows.
    """
    if not numbers:
        return {}, 0.0
    rows = BuildProgress.objects.order_by("build_id", "position")
    whole = rows.filter(build__in=numbers, group_digest=ROOT_DIGEST)
    found = list(whole.values_list(Now(), *COLUMNS))
    rest = set(numbers) - {row[1] for row in found}
    totals = set(numbers) - rest
    if rest:
        found += rows.filter(build__in=rest).values_list(Now(), *COLUMNS)[: BARS_READ + 1]
    tables: dict[int, list[Report]] = {}
    for number, report in reports_of([row[1:] for row in found]):
        tables.setdefault(number, []).append(report)
    if len(found) - len(numbers) + len(rest) > BARS_READ:
        del tables[found[-1][1]]  # a part of its sum would be a lie
    roots = {number: make_bars(table) for number, table in tables.items()}
    moment = found[0][0].timestamp() if found else 0.0
    _hear({number: root for number, root in roots.items() if number in totals}, moment)
    return roots, moment


def _hear(roots: Mapping[int, Bar], moment: float) -> None:
    """Let totals that are silent know of what moves below them."""
    silent = [n for n, root in roots.items() if (root.silence(moment) or 0.0) > root.still_after]
    if not silent:
        return
    below = BuildProgress.objects.filter(build__in=silent).order_by().values_list("build")
    for number, updated in below.annotate(Max("updated")):
        roots[number].updated = updated.timestamp()


# --- What waits -----------------------------------------------------------------------------------


def _queue_part(running: Sequence[Build], clusters: Iterable[Cluster]) -> dict[str, Any]:
    found = _first_unstarted()
    queued = [build for build in found if build.status == Build.Status.QUEUED]
    waiting = [build for build in found if build.status == Build.Status.WAITING]
    site = _site(running, clusters)
    reasons = inputs_awaited([build.pk for build in waiting])
    lines = [QueueLine(one, why_queued(one, one.job.concurrency, site)) for one in queued]
    lines += [QueueLine(one, reasons[one.pk]) for one in waiting]
    count = sum(some[0].number for some in (queued, waiting) if some)
    return {"lines": lines, "count": count, "more": max(count - len(lines), 0)}


def _first_unstarted() -> list[Any]:
    """Return the first of the oldest builds of both states, and how many these are (`number`)."""
    # Of those that wait in a plan only their age counts.
    later = When(status=Build.Status.QUEUED, not_before__gt=Now(), then=Value(1))
    urgent = When(status=Build.Status.QUEUED, then=-F("priority"))
    order = [Case(one, default=Value(0)) for one in (later, urgent)]
    oldest = [
        among(builds.order_by("pk").values("pk")[:COUNTED])
        for builds in (Build.objects.queued(), Build.objects.waiting())
    ]
    rows = Build.objects.filter(oldest[0] | oldest[1]).annotate(
        number=Window(Count("pk"), partition_by=F("status")),
        place=Window(RowNumber(), partition_by=F("status"), order_by=[*order, F("pk")]),
    )
    shown = rows.select_related("job").only(*_LIGHT, "job__title", "job__concurrency")
    return list(shown.filter(place__lte=SHOWN).order_by("place"))


def _site(running: Sequence[Build], clusters: Iterable[Cluster]) -> Site:
    return Site(
        clusters=[one for one in clusters if is_alive(one)],
        by_job=Counter(build.job_id for build in running),
        by_queue=Counter(build.queue for build in running if not build.in_place),
        time=timezone.now(),
    )


# --- What broke -----------------------------------------------------------------------------------


def _failures_part() -> dict[str, Any]:
    """Return the newest failures, one line for each job.

    Without builds that were never run because another failed: that one is the news.
    """
    newest = Build.objects.filter(status=Build.Status.FAILED).newest_first().values("pk")
    since = Build.objects.filter(job=OuterRef("job"), pk__gt=OuterRef("pk")).successful()
    rows = (
        Build.objects.filter(among(newest[:FAILURES_LOOKED_AT]))
        .exclude(failure_kind=Build.FailureKind.UPSTREAM_FAILED)
        .annotate(head=Left("exception_message", FIRST_CHARS), mended=Exists(since))
        .select_related("job")
        .only("pk", "job", "job__title", "status", "end_time", "failure_kind", "exception_type")
        .newest_first()
    )
    found: list[Any] = list(rows[:FAILURES_READ])
    times = Counter(build.job_id for build in found)
    lines: dict[str, FailureLine] = {}
    for build in found:
        if build.job_id not in lines and len(lines) < SHOWN:
            build.exception_message = build.head  # the whole is not loaded
            line = FailureLine(build, reason(build), times[build.job_id], build.mended)
            lines[build.job_id] = line
    today = timezone.now() - DAY
    return {
        "lines": list(lines.values()),
        "today": sum(build.end_time is not None and build.end_time > today for build in found),
        "read": FAILURES_READ,
    }


# --- What comes -----------------------------------------------------------------------------------


def _schedule_part() -> dict[str, Any]:
    """Return the next time of each entry that is due today, and what was not started today.

    Where nothing more is due today, the next time of all.
    """
    midnight = _midnight()
    runs = ScheduledRun.objects.select_related("job", "job__schedule_pause").order_by("due", "pk")
    runs = runs.defer("job__config", "job__config_text", "job__notes", "job__docs")
    found = list(runs.filter(state__in=ScheduledRun.OPEN)[: SHOWN + 1])
    today = [run for run in found if run.due < midnight + DAY]
    bad = runs.filter(state__in=_NOT_STARTED, due__gte=midnight).order_by("-due", "-pk")
    return {
        "lines": [_run_line(run) for run in today[:SHOWN]],
        "next": _run_line(found[0]) if found and not today else None,
        "more": len(today) > SHOWN,
        "not_started": list(bad[:SHOWN]),
    }


def _midnight() -> datetime:
    """Return when this day began, in the site's zone."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def _run_line(run: ScheduledRun) -> RunLine:
    return RunLine(run, entries_of(run.job).get(run.entry), hasattr(run.job, "schedule_pause"))


# --- Who works ------------------------------------------------------------------------------------


def _workers_part(clusters: Iterable[Cluster], running: Sequence[Build]) -> dict[str, Any]:
    every = crews(clusters, running=running)
    alive = [crew for crew in every if crew.is_alive]
    every.sort(key=_trouble_first)
    return {
        "crews": every[:SHOWN],
        "more": max(len(every) - SHOWN, 0),
        "busy": sum(crew.busy for crew in alive),
        "workers": sum(crew.cluster.workers for crew in alive),
    }


def _trouble_first(crew: Crew) -> bool:
    return crew.state == "active" and not crew.cluster.trouble
