"""What the programs of the table share: rows, ratios, the command line, and where results are kept.

A row compares us with a peer, both measured in turn in the same run: only the ratio means much, and
of several rounds its median, with the lowest and the highest beside it.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

ROUNDS = 3
QUICK_ROUNDS = 2
PLACES = ("sqlite", "postgres", "redis")
REDIS = "redis://127.0.0.1:6379"
VERSIONS = ("django", "django-q2", "psycopg", "redis", "celery", "django-celery-results", "tqdm")


@dataclass(frozen=True)
class Asked:
    """What a program was asked for."""

    quick: bool = False
    rounds: int = ROUNDS
    places: tuple[str, ...] = PLACES
    redis: str = REDIS

    def size(self, full: int, quick: int) -> int:
        """Return how many to take: the full number, or the one for a look whether it works."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """A comparison; `ours` and `peer` hold a number for each round.

    `budget` bounds the ratio ours / peer: from below where `more_is_better`, else from above. None:
    there is none, the row is there to be looked at.
    """

    what: str
    on: str
    peer_name: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float]
    budget: float | None = None
    more_is_better: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours by the peer's, of each round."""
        pairs = zip(self.ours, self.peer, strict=False)
        return [ours / peer for ours, peer in pairs if peer]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None where there was no peer."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether the ratio keeps to the budget; None where either is missing."""
        if self.budget is None or self.ratio is None:
            return None
        return self.ratio >= self.budget if self.more_is_better else self.ratio <= self.budget

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is kept."""
        ratios = self.ratios
        return {
            "what": self.what,
            "on": self.on,
            "peer": self.peer_name,
            "unit": self.unit,
            "ours": [round(value, 4) for value in self.ours],
            "theirs": [round(value, 4) for value in self.peer],
            "ratio": round(self.ratio, 3) if self.ratio is not None else None,
            "spread": [round(min(ratios), 3), round(max(ratios), 3)] if ratios else None,
            "budget": self.budget,
            "more_is_better": self.more_is_better,
            "met": self.is_met,
            "facts": self.facts,
        }


Program = Callable[[Asked], Iterator[Row]]


# --- The table ------------------------------------------------------------------------------------

_WIDTHS = (56, 19, 21, 9, 9, 7, 13, 7, 5)
_HEADS = ("what", "on", "peer", "ours", "peer's", "ratio", "spread", "budget", "met?")


def head() -> str:
    """Return the line above the rows."""
    return _line(_HEADS)


def line(row: Row) -> str:
    """Return a row as a line of the table: medians, and the lowest and highest ratio."""
    ratios = row.ratios
    budget = ""
    if row.budget is not None:
        budget = f"{'≥' if row.more_is_better else '≤'} {row.budget:g}"
    return _line(
        (
            f"{row.what} ({row.unit})",
            row.on,
            row.peer_name,
            _number(row.ours),
            _number(row.peer),
            f"{row.ratio:.2f}" if row.ratio is not None else "–",
            f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–",
            budget,
            {True: "yes", False: "NO", None: ""}[row.is_met],
        )
    )


def _line(texts: Sequence[str]) -> str:
    cells = [
        f"{text:<{width}}" if at < 3 else f"{text:>{width}}"
        for at, (text, width) in enumerate(zip(texts, _WIDTHS, strict=True))
    ]
    return " ".join(cells).rstrip()


def _number(values: Sequence[float]) -> str:
    if not values:
        return "–"
    middle = statistics.median(values)
    return f"{middle:,.0f}" if abs(middle) >= 100 else f"{middle:.3g}"


def surroundings(asked: Asked) -> dict[str, Any]:
    """Return what the numbers were taken with; nothing that names a machine or a folder."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: found for name in VERSIONS if (found := installed(name))},
        "quick": asked.quick,
        "rounds": asked.rounds,
    }


def installed(package: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# --- The command line -----------------------------------------------------------------------------


def parser(text: str) -> ArgumentParser:
    """Return the options that all programs have."""
    made = ArgumentParser(description=text.partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="small sizes: does it still work?")
    made.add_argument("--rounds", type=int, help=f"how often each is measured ({ROUNDS})")
    made.add_argument(
        "--on", default=",".join(PLACES), help="which of sqlite, postgres and redis (all)"
    )
    made.add_argument("--redis", default=REDIS, metavar="URL", help=f"a Redis to use ({REDIS})")
    return made


def asked_for(found: Namespace) -> Asked:
    """Return what the command line says."""
    places = tuple(name for name in found.on.split(",") if name)
    if wrong := set(places) - set(PLACES):
        sys.exit(f"--on: {', '.join(sorted(wrong))} is none of {', '.join(PLACES)}")
    rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    # So that what was started is ended, however this is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return Asked(found.quick, rounds, places, found.redis)


def alone(text: str, program: Program) -> int:
    """Run one program by itself, print its rows, and return the exit code."""
    asked = asked_for(parser(text).parse_args())
    print(head(), flush=True)
    for row in program(asked):
        print(line(row), flush=True)
        if row.facts:
            print(f"    {json.dumps(row.facts)}", flush=True)
    return 0
