"""How a job's builds run: `timeout` and `retries`, how many at once and by which clusters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.problems import describe, nearest, quoted

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", re.IGNORECASE)
LONGEST = 10 * 366 * 86_400.0  # seconds
MAX_RETRIES = 100

DEFAULT_QUEUE = "default"
MAX_QUEUE = 100  # characters of a queue's name
_QUEUE = re.compile(r"[A-Za-z0-9._-]+")
MAX_CONCURRENCY = 1_000_000

REASONS = ("exception", "timeout", "worker_lost", "shutdown")


def parse_duration(text: str) -> float | None:
    """Return the seconds that `90s`, `10m`, `2h`, `15d`, `2w` or a number says; None for others."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2].lower() or "s"] if match else None


def duration(value: object) -> float:
    """Return the seconds that a value of the file says.

    Raises ValueError with what it must be.
    """
    found = parse_duration(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        wanted = "a number of seconds, or such as 90s, 10m, 2h or 1d"
        given = quoted(value) if isinstance(value, str) else describe(value)
        raise ValueError(f"must be {wanted}, not {given}")  # noqa: TRY004
    if not 0 < found <= LONGEST:  # not so for nan either
        raise ValueError("must be above 0 and at most ten years")
    return float(found)


def queue_problem(name: str) -> str:
    """Say what is wrong with a queue's name, "" when nothing is."""
    if not _QUEUE.fullmatch(name):
        return f"must be of letters, digits, '-', '_' and '.', not {name!r:.80}"
    if len(name) > MAX_QUEUE:
        return f"has {len(name)} characters; at most {MAX_QUEUE} are allowed"
    return ""


def spoken(seconds: float) -> str:
    """Return a duration as the file would say it: `90s`, `10m`, `2h`."""
    for unit in "wdhm":
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.15g}{unit}"
    return f"{seconds:.15g}s"


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed build is tried again: `count` times at most, for a kind of failure in `on`.

    The first retry waits `delay` seconds, each further one `backoff` times as long.
    """

    count: int
    delay: float = 0.0
    backoff: float = 1.0
    on: tuple[str, ...] = REASONS

    @classmethod
    def read(cls, value: object) -> RetryPolicy:
        """Read `retries`: a number, or a mapping.

        Raises ValueError with all that is wrong, a line each.
        """
        given = {"count": value} if type(value) is int else value
        if not isinstance(given, Mapping):
            raise ValueError(f"must be a number or a mapping, not {describe(value)}")  # noqa: TRY004
        found: dict[str, Any] = {}
        problems = [] if "count" in given else ["has no 'count'"]
        for key, item in given.items():
            reader = _READERS.get(str(key))
            try:
                if reader is None:
                    raise ValueError(f"is no part of it{nearest(str(key), _READERS)}")
                found[str(key)] = reader(item)
            except ValueError as error:
                problems.append(f"{key!r} {error}")
        if problems:
            raise ValueError("\n".join(problems))
        return cls(**found)

    def delay_of(self, retry: int) -> float:
        """Return the seconds before the `retry`-th retry, 1 for the first."""
        try:
            return min(self.delay * self.backoff ** (retry - 1), LONGEST)
        except OverflowError:
            return LONGEST


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_RETRIES:
        raise ValueError(f"must be a whole number from 0 to {MAX_RETRIES}")
    return value


def _delay(value: object) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else duration(value)


def _backoff(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1000:
        raise ValueError("must be a number from 1 to 1000")
    return float(value)


def _on(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"must be a list of {', '.join(REASONS)}")
    wrong = [name for name in names if name not in REASONS]
    if wrong:
        raise ValueError(f"must be a list of {', '.join(REASONS)}, not of {wrong[0]!r}")
    return tuple(dict.fromkeys(names))


_READERS = {"count": _count, "delay": _delay, "backoff": _backoff, "on": _on}
