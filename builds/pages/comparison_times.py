"""How long two builds waited and took, and how far their progress came, beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builds.models import Build
from builds.pages.bars import Bar, read_few_bars

BARS_READ = 500  # of both together; summing up more takes too long for a page beside
BARS_SHOWN = 20
ABOUT = 0.1  # the part of the longer time by which two times may differ and be about the same
ABOUT_SECONDS = 1.0
SHORTEST = 0.1  # seconds, as they are shown

Pair = tuple[float | None, float | None]


@dataclass(frozen=True)
class TimeRow:
    """A time of both builds in seconds, or how far a bar came in both and how long that took."""

    label: str
    seconds: Pair
    amounts: tuple[str, str] = ("", "")
    is_bar: bool = False

    @property
    def about_same(self) -> bool:
        """Whether the two are too near to each other to say something."""
        left, right = self.seconds
        if left is None or right is None:
            return left == right
        return abs(right - left) <= max(ABOUT_SECONDS, ABOUT * max(left, right))

    @property
    def same(self) -> bool:
        """Whether there is nothing to say about the two."""
        return self.about_same and self.amounts[0] == self.amounts[1]

    @property
    def both(self) -> list[tuple[float | None, str]]:
        """The time and the amount of either build."""
        return list(zip(self.seconds, self.amounts, strict=True))

    @property
    def longer(self) -> float | None:
        """By how many seconds the second is longer, if it is."""
        delta = self._delta()
        return delta if delta > 0 else None

    @property
    def shorter(self) -> float | None:
        """By how many seconds the second is shorter, if it is."""
        delta = self._delta()
        return -delta if delta < 0 else None

    def _delta(self) -> float:
        left, right = self.seconds
        return 0.0 if left is None or right is None or self.about_same else right - left


def times_part(builds: tuple[Build, Build], waited: Pair, took: Pair) -> dict[str, Any]:
    """Return the rows, and what comes out of them in a word."""
    own = [TimeRow("Waited", waited), TimeRow("Took", took)]
    roots = read_few_bars(builds, BARS_READ)
    bars = [] if roots is None else list(bar_rows(*(roots[build.pk] for build in builds)))
    rows = [*own, *bars[:BARS_SHOWN]]
    return {
        "rows": rows,
        "bars_hidden": max(len(bars) - BARS_SHOWN, 0),
        "too_many_bars": roots is None,
        "same": all(row.same for row in [*own, *bars]),
        "word": _word(builds, own[1], bars_differ=any(not bar.same for bar in bars)),
    }


def _word(builds: tuple[Build, Build], took: TimeRow, *, bars_differ: bool) -> str:
    left, right = took.seconds
    if left is None or right is None:
        if left is right:
            return "neither has begun"
        return f"only #{builds[left is None].pk} has begun"
    if took.about_same:
        return "about the same, but for the progress" if bars_differ else "about the same"
    slower = builds[0] if left > right else builds[1]
    times = max(left, right) / max(min(left, right), SHORTEST)
    return f"#{slower.pk} took {times:,.1f} times as long"


def bar_rows(left: Bar, right: Bar) -> Iterator[TimeRow]:
    """Yield a row for each bar at the top of either tree, the sum of all first."""
    tops = _tops(left), _tops(right)
    for name in dict.fromkeys([*tops[0], *tops[1]]):
        both = tops[0].get(name), tops[1].get(name)
        yield TimeRow(
            "Progress" if name is None else name,
            (_seconds(both[0]), _seconds(both[1])),
            (_amount(both[0]), _amount(both[1])),
            is_bar=True,
        )


def _tops(root: Bar) -> dict[str | None, Bar]:
    """Return the root, unless nothing was reported at all, and the bars right below it."""
    if root.report is None and not root.children:
        return {}
    return {None: root, **{bar.name: bar for bar in root.children}}


def _amount(bar: Bar | None) -> str:
    return "" if bar is None else f"{bar.current:,} of {bar.total:,}"


def _seconds(bar: Bar | None) -> float | None:
    return None if bar is None else bar.seconds
