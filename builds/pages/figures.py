"""What a row of builds says in numbers: how many succeeded, how long they take, how high a bar is.

Pure arithmetic on seconds; nothing here knows of a database.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HIGHEST = 96  # pixels: the bar of the longest build
LEAST = 3  # of any build that ran: it can be seen and pointed at
ROOM = 1.5  # times the 95th percentile: bars of longer builds are cut off
NEWEST = 3  # the newest of so many parts are compared with the others
FEWEST = 4  # on either side of that comparison
STEADY = 0.1  # what changed by less is noise


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the least of `values` that `percent` of a hundred of them do not exceed."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True)
class Scale:
    """How high durations are drawn: `top` seconds are as high as the chart."""

    top: float

    @classmethod
    def of(cls, drawn: Sequence[float], lines: Sequence[float] = ()) -> Scale:
        """Return the scale for bars and lines: one that takes very long leaves the others room."""
        if not drawn:
            return cls(0.0)
        return cls(min(max(drawn), ROOM * max(percentile(drawn, 95), *lines, 0.0)))

    def height(self, seconds: float) -> int:
        """Return how many pixels high a bar is."""
        if self.top <= 0:
            return LEAST
        return max(LEAST, round(HIGHEST * min(max(seconds / self.top, 0.0), 1.0)))

    def line(self, seconds: float) -> int:
        """Return how many pixels below the top of the chart a duration's line lies."""
        return HIGHEST - self.height(seconds)

    def is_cut(self, seconds: float) -> bool:
        """Whether a bar would be higher than the chart."""
        return seconds > self.top


@dataclass(frozen=True)
class Trend:
    """The newest successes beside those before."""

    count: int  # of the newest
    lately: float  # their median
    before: float  # that of the others, more than nothing

    @property
    def change(self) -> float:
        """By how much it is more than before: 0.5 for half as long again."""
        return self.lately / self.before - 1

    @property
    def is_steady(self) -> bool:
        """Whether nothing changed that is worth a word."""
        return abs(self.change) < STEADY

    @property
    def percent(self) -> int:
        """By how many of a hundred it is longer, or shorter."""
        return round(100 * abs(self.change))


def trend(durations: Sequence[float]) -> Trend | None:
    """Compare the newest third of durations, which come newest first, with those before.

    None where there are too few to tell, or nothing to compare with.
    """
    count = max(len(durations) // NEWEST, FEWEST)
    newest, before = durations[:count], durations[count:]
    if len(before) < FEWEST:
        return None
    usual = median(before)
    if usual <= 0:
        return None
    return Trend(count, median(newest), usual)


@dataclass(frozen=True)
class Figures:
    """How builds ended, and how long the successful ones took, skipped ones not among them."""

    succeeded: int  # what was skipped did
    failed: int
    cancelled: int
    timed: int  # successes whose durations follow
    median: float | None
    p95: float | None

    @property
    def decided(self) -> int:
        """How many could have failed and ended; a cancelled one was never let to."""
        return self.succeeded + self.failed

    @property
    def percent(self) -> int:
        """How many of a hundred succeeded; 100 only where all did, 0 only where none did."""
        share = 100 * self.succeeded / self.decided if self.decided else 0.0
        if 0 < self.succeeded < self.decided:
            return min(max(round(share), 1), 99)
        return round(share)


def figures(*, succeeded: int, failed: int, cancelled: int, durations: Sequence[float]) -> Figures:
    """Return the figures of builds; `durations` are those of the successful ones."""
    return Figures(
        succeeded=succeeded,
        failed=failed,
        cancelled=cancelled,
        timed=len(durations),
        median=median(durations) if durations else None,
        p95=percentile(durations, 95) if durations else None,
    )
