"""The logs of two builds beside each other: how much of each level, and what only one of them said.

Bounded whatever their length: lines are counted up to `COUNTED_LINES`, and of those from WARNING up
the first and the last `LINES` are read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet, Subquery, TextField

from builds.models import Build, LogMessage
from builds.pages.ansi import plain
from builds.pages.differences import normalised
from builds.pages.log_parts import LINES, lines_of, part_of
from builds.pages.log_question import LEVELS, LogQuestion

COUNTED_LINES = 10_000  # of a build; more take too long for two logs at once
READ_CHARS = 300  # of a message, to tell whether it is the same as another
LISTED = 100  # messages of each build

_RARE_LEVELS = [name for name in LEVELS if LEVELS[name] >= LogMessage.RARE_LEVEL]
_FIRST = LogQuestion.read({"level": "WARNING"})
_LAST = LogQuestion.read({"level": "WARNING", "tail": "1"})


@dataclass(frozen=True)
class LevelCounts:
    """Lines by level; of those in `at_least` there may be more."""

    counts: dict[str, int]
    at_least: frozenset[str] = frozenset()

    def text(self, level: str) -> str:
        """Return the number for people."""
        return f"{self.counts[level]:,}{'+' if level in self.at_least else ''}"


@dataclass
class Said:
    """A message of a log, and how often it came, numbers and times aside."""

    level: str
    text: str
    number: int  # of its first line
    count: int = 1


@dataclass(frozen=True)
class Warnings:
    """What a build said from WARNING up; `is_cut`: not all of it was read."""

    said: dict[tuple[str, str], Said] = field(default_factory=dict)
    is_cut: bool = False


def log_summaries(left: Build, right: Build) -> dict[str, Any]:
    """Return the levels' counts in both logs, and the messages from WARNING up of only one."""
    counts = count_levels([left, right])
    found = read_warnings(left, counts[0]), read_warnings(right, counts[1])
    only = [
        [said for key, said in mine.said.items() if key not in other.said]
        for mine, other in (found, found[::-1])
    ]
    return {
        "counts": counts,
        "only": [some[:LISTED] for some in only],
        "unlisted": [max(len(some) - LISTED, 0) for some in only],
        "in_both": len(found[0].said.keys() & found[1].said.keys()),
        "is_cut": any(one.is_cut for one in found),
        "read_lines": LINES,
    }


def count_levels(builds: Sequence[Build]) -> list[LevelCounts]:
    """Count the lines of each level; in long logs those from WARNING up to their end."""
    found = _count([lines_of(build) for build in builds])
    longs = [number for number, one in enumerate(found) if one.at_least]
    if longs:
        rare = Q(level__gte=LogMessage.RARE_LEVEL)
        again = _count([lines_of(builds[number]).filter(rare) for number in longs])
        for number, of_rare in zip(longs, again, strict=True):
            counts = {name: of_rare.counts[name] for name in _RARE_LEVELS}
            at_least = LEVELS.keys() - (set() if of_rare.at_least else set(_RARE_LEVELS))
            found[number] = LevelCounts(found[number].counts | counts, frozenset(at_least))
    return found


class _CountByLevel(Subquery):
    """The numbers of the lines that a query has: all, and those of each level, as one text."""

    _ends = [*list(LEVELS.values())[1:], 1_000_000]
    _starts = [0, *_ends]
    _each = "".join(
        f" || ' ' || COUNT(CASE WHEN counted.level >= {start} AND counted.level < {end} THEN 1 END)"
        for start, end in zip(_starts, _ends, strict=False)
    )
    template = f"(SELECT COUNT(*){_each} FROM (%(subquery)s) counted)"  # noqa: S608 - our numbers
    output_field = TextField()


def _count(logs: Sequence[QuerySet[LogMessage]]) -> list[LevelCounts]:
    """Count the first lines of each log, all in one query."""
    few = {
        f"n{number}": _CountByLevel(lines.values("level")[: COUNTED_LINES + 1])
        for number, lines in enumerate(logs)
    }
    # Any one row, for a query has to be of something; none at all has no lines either.
    nothing = (" ".join("0" for _ in range(len(LEVELS) + 1)),) * len(few)
    texts = Build.objects.annotate(**few).values_list(*few).first() or nothing
    found = []
    for text in texts:
        total, *counts = (min(int(number), COUNTED_LINES + 1) for number in text.split())
        is_long = total > COUNTED_LINES
        by_level = dict(zip(LEVELS, (min(one, COUNTED_LINES) for one in counts), strict=True))
        found.append(LevelCounts(by_level, frozenset(LEVELS if is_long else ())))
    return found


def read_warnings(build: Build, counts: LevelCounts) -> Warnings:
    """Return what the build said from WARNING up: in its first such lines, and in its last."""
    count = sum(counts.counts[name] for name in _RARE_LEVELS)
    if not count:
        return Warnings()
    first = part_of(build, _FIRST)
    lines = list(first.lines)
    if first.newer is not None:
        lines += [line for line in part_of(build, _LAST).lines if line.pk > first.newer]
    said: dict[tuple[str, str], Said] = {}
    for line in lines:
        text = plain(getattr(line, "head", "")[:READ_CHARS])
        level = logging.getLevelName(line.level)
        key = level, normalised(text)
        if key in said:
            said[key].count += 1
        else:
            said[key] = Said(level, text, line.pk)
    return Warnings(said, is_cut=count > 2 * LINES)
