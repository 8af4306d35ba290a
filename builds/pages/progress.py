"""A build's progress as a nested list of bars, of which only so many are on the page at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator

from builds.models import Build
from builds.pages.bars import Bar, database_now, read_bars

WHOLE = 100  # bars; a tree of no more is shown whole
BY_ITSELF = 200  # bars, with the branches that are opened because something happens there
UNFOLDED = 240  # bars, when all branches are to be unfolded; also of a part of the whole tree
MOST = 1_000  # bars, with the branches that somebody opened
BRANCHES_OPENED = 200
ALL = "all"
PART = "page"  # of the whole tree
STEPS = 10  # colours from red to green

Status = Build.Status


@dataclass(frozen=True)
class View:
    """The build that the bars are of, and which branches are to be open."""

    status: str
    now: float
    opened: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.status == Status.RUNNING

    @property
    def stopped(self) -> bool:
        """Whether it ended before its time."""
        return self.status in (Status.FAILED, Status.CANCELLED)

    def interesting(self, bar: Bar) -> bool:
        """Whether something happens there, or is where the build stopped."""
        return (self.running or self.stopped) and bar.begun and not bar.finished

    def silence(self, bar: Bar, *, is_root: bool) -> float | None:
        """For how long a bar has been silent; None where silence says nothing."""
        if not self.running or not (is_root or self.interesting(bar)):
            return None
        return bar.silence(self.now)


@dataclass(frozen=True)
class ProgressRow:
    """One bar of a nested list: does it open a list below it, how many lists end after it."""

    key: str
    label: str
    current: int
    total: int
    percent: str
    status_line: str
    shown: int  # what the bar shows, within 0 and `maximum`
    maximum: int
    step: str  # its colour: 0 being red and 10 green; `none` where nothing can be said
    badge: str
    rate: float | None  # all of these in seconds, None where it can't be known
    took: float | None
    took_about: bool  # it is known to a second only
    took_over: bool  # what came before the first report is not known
    left: int | None
    silence: int | None
    still_after: int
    is_still: bool
    opens: bool = False
    folded: int = 0  # bars directly below it that are not shown
    remark: str = ""  # on what is below
    closes: range = range(0)


def progress_part(build: Build, query: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Return the bars to show and how many there are.

    `query` may name branches to be `open`ed, or ask for a part of the whole tree, in which each
    branch is open: by `progress=all` and the number of a `page`. `now` is in database time.
    """
    nothing = {"progress": [], "progress_count": 0}
    if not build.started:
        return nothing
    root = read_bars(build)
    if root.report is None and not root.children:
        return nothing
    report = root.report
    if report is not None and not root.children and not any(report[1:4]):
        return nothing
    view = _view(build, query, now)
    is_whole = query.get("progress") == ALL
    if is_whole:
        rows, parts = part_of(root, view, query.get(PART))
    else:
        rows, parts = rows_of([root], view, opened_branches(root, view)), {}
    return {
        "progress": rows,
        "progress_count": sum(not bar.is_range for bar in root.walk()),
        "progress_root": root.key,
        "progress_open": query.get("open", ""),
        "progress_folds": any(row.opens or row.folded for row in rows[1:]),
        "progress_all": is_whole,
        **parts,
    }


def branch_part(build: Build, query: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the bars below the `branch` that `query` names; None if there is no such branch."""
    wanted = query.get("branch", "")
    root = read_bars(build)
    branch = next((bar for bar in root.walk() if bar.children and bar.key == wanted), None)
    if branch is None:
        return None
    view = _view(build, query, database_now(build))
    rows = rows_of(branch.children, view, opened_branches(branch, view))
    return {"progress": rows, "progress_open": query.get("open", "")}


def opened_branches(top: Bar, view: View) -> set[Bar]:
    """Return the branches from `top` down whose bars are shown; `top` is one of them.

    Those nearest to the top come first: all groups, before all parts of the first of them.
    """
    is_small = sum(1 for _ in top.walk()) <= WHOLE
    unfolds = ALL in view.opened
    opened: set[Bar] = set()
    shown = 1
    waiting = deque([top])
    while waiting:
        bar = waiting.popleft()
        if not bar.children:
            continue
        then = shown + len(bar.children)
        if (
            bar is top
            or is_small
            or (unfolds and then <= UNFOLDED)
            or (bar.key in view.opened and then <= MOST)
            or (then <= BY_ITSELF and view.interesting(bar))
        ):
            opened.add(bar)
            shown = then
            waiting.extend(bar.children)
    return opened


def rows_of(tops: list[Bar], view: View, opened: set[Bar]) -> list[ProgressRow]:
    """Return the bars from `tops` down, flat: templates should not recurse that deep."""
    return _nested(list(_in_depth(tops, opened)), view)


def part_of(root: Bar, view: View, number: str | None) -> tuple[list[ProgressRow], dict[str, Any]]:
    """Return the bars of a part of the whole tree, below those that lead there, and the parts."""
    bars = list(_in_depth([root]))
    page = Paginator(bars, UNFOLDED).get_page(number)
    shown = list(page)
    depth = shown[0][0]
    for above, bar in reversed(bars[: page.start_index() - 1]):
        if above < depth:
            shown.insert(0, (above, bar))
            depth = above
    parts = page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)
    return _nested(shown, view, folds=False), {"progress_page": page, "progress_pages": parts}


def _in_depth(tops: list[Bar], opened: set[Bar] | None = None) -> Iterator[tuple[int, Bar]]:
    """Yield depths and bars, each before its children; those of all branches if none is named."""
    waiting = [(0, bar) for bar in reversed(tops)]
    while waiting:
        depth, bar = waiting.pop()
        yield depth, bar
        if opened is None or bar in opened:
            waiting.extend((depth + 1, child) for child in reversed(bar.children))


def _nested(
    bars: Sequence[tuple[int, Bar]], view: View, *, folds: bool = True
) -> list[ProgressRow]:
    """Return rows that open and close lists; without `folds` nothing is said of bars left out."""
    depths = [*(depth for depth, _ in bars[1:]), 0]
    return [
        row_of(bar, view, opens=below > depth, closes=max(depth - below, 0), folds=folds)
        for (depth, bar), below in zip(bars, depths, strict=True)
    ]


def row_of(
    bar: Bar, view: View, *, opens: bool = False, closes: int = 0, folds: bool = True
) -> ProgressRow:
    """Return what is shown of one bar."""
    current, total = bar.current, bar.total
    is_root = not bar.path and not bar.is_range
    is_stopped = view.stopped and (is_root or view.interesting(bar))
    silence = view.silence(bar, is_root=is_root)
    is_still = silence is not None and silence > bar.still_after
    left = bar.left(view.now) if view.running and not is_still else None
    folded = len(bar.children) if folds and not opens else 0
    return ProgressRow(
        key=bar.key,
        label="Total" if bar.name is None else bar.name,
        current=current,
        total=total,
        percent="N/A" if total <= 0 else f"{current * 100 // total}%",
        status_line=_status_line(bar),
        shown=min(max(current, 0), max(total, 0)),
        maximum=max(total, 1),
        step="stopped" if is_stopped else _step(current, total),
        badge=_badge(view, is_root=is_root, is_stopped=is_stopped),
        rate=bar.rate if view.running and not bar.finished else None,
        took=None if is_root and view.running else _took(bar),
        took_about=bar.report is None,
        took_over=(bar.first_current or 0) > 0,
        left=None if left is None else round(left),
        silence=None if silence is None else round(silence),
        still_after=round(bar.still_after),
        is_still=is_still,
        opens=opens,
        folded=folded,
        remark=_remark(bar, view) if folded else "",
        closes=range(closes),
    )


def _view(build: Build, query: Mapping[str, str], now: datetime) -> View:
    opened = query.get("open", "").split(".")[-BRANCHES_OPENED:]
    return View(
        status=build.status,
        now=now.timestamp(),
        opened=frozenset(opened),
    )


def _status_line(bar: Bar) -> str:
    if bar.is_range:
        return f"{bar.children[0].name} … {bar.children[-1].name}"
    return bar.report.status_line if bar.report else ""


def _step(current: int, total: int) -> str:
    return "none" if total <= 0 else str(min(max(current * STEPS // total, 0), STEPS))


def _badge(view: View, *, is_root: bool, is_stopped: bool) -> str:
    """Bars may all be full, and green, when a build fails: it is said at the first of them."""
    if is_root:
        return view.status if view.stopped else ""
    return "stopped" if is_stopped else ""


def _took(bar: Bar) -> float | None:
    """Return how long what is done took from its first report to the last."""
    seconds = bar.seconds
    if not bar.finished or seconds is None or bar.first_current is None:
        return None
    # The ends of a branch are known to about a second: when they were stored.
    return seconds if bar.report or seconds >= 1 else None


def _remark(bar: Bar, view: View) -> str:
    """Say what is wrong within a branch that is folded."""
    ends = [one for one in bar.walk() if not one.children and view.interesting(one)]
    if view.stopped:
        return f"{len(ends)} stopped" if ends else ""
    still = sum((one.silence(view.now) or 0.0) > one.still_after for one in ends)
    return f"{still} without an update" if still else ""
