"""How long logs and builds are kept: `retention` of the file, and of a job's own block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.policies import duration, spoken
from jobs.problems import describe, nearest

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
ALL = "all"
_DAY = 86_400.0
# The original's ages, in seconds.
DEFAULT_LOGS: Mapping[str, float] = {
    "DEBUG": 15 * _DAY,
    "INFO": 30 * _DAY,
    "WARNING": 90 * _DAY,
    "ERROR": 180 * _DAY,
    "CRITICAL": 180 * _DAY,
    ALL: 365 * _DAY,
}
DEFAULT_LOG_ROWS = 100_000
MAX_COUNT = 10**9

# Where a mistake stands within `retention`, and what it is.
Mistake = tuple[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """Of each job so many finished builds stay, none older than `age` seconds; None: no limit."""

    count: int | None = None
    age: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all builds stay."""
        return self.count is None and self.age is None


@dataclass(frozen=True, slots=True)
class Retention:
    """What the file says, with the defaults; ages in seconds, `log_rows` of 0 means no cap."""

    logs: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_LOGS))
    builds: BuildLimits = BuildLimits()
    log_rows: int = DEFAULT_LOG_ROWS

    def of_job(self, config: Mapping[str, Any]) -> Retention:
        """Return what holds for a job of this configuration: its own `retention` goes first.

        Raises ValueError with all that is wrong in it.
        """
        given = config.get("retention")
        if given is None:
            return self
        own = read_own(given)
        return replace(
            self,
            builds=replace(self.builds, **own.get("builds", {})),
            log_rows=own.get("log_rows", self.log_rows),
        )


def read(value: object) -> tuple[Retention, list[Mistake]]:
    """Read the section of the file; what is wrong is left out and stands in the mistakes."""
    found, mistakes = _read_parts(value, _SECTION)
    logs = {**DEFAULT_LOGS, **found.get("logs", {})}
    longest = logs[ALL]
    is_known = all(place != ("logs", ALL) for place, _ in mistakes)
    for name, age in found.get("logs", {}).items():
        if is_known and age > longest:
            text = f"is longer than {ALL!r} ({spoken(longest)}), which bounds every level"
            mistakes.append((("logs", name), text))
    builds = BuildLimits(**_given(found.get("builds", {})))
    return Retention(logs, builds, found.get("log_rows", DEFAULT_LOG_ROWS)), mistakes


def read_own(value: object) -> dict[str, Any]:
    """Read `retention` of a job's block: the parts that it gives, None for a limit taken away.

    Raises ValueError with all that is wrong, a line each.
    """
    found, mistakes = _read_parts(value, _OWN)
    if mistakes:
        raise ValueError("\n".join(f"{'.'.join(place)} {text}".strip() for place, text in mistakes))
    return found


_Reader = Callable[[object], tuple[Any, list[Mistake]]]


def _read_parts(value: object, readers: Mapping[str, _Reader]) -> tuple[dict[str, Any],
                                                                        list[Mistake]]:  # fmt: skip
    if not isinstance(value, Mapping):
        return {}, [((), f"must be a mapping, not {describe(value)}")]
    found: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for key, part in value.items():
        reader = readers.get(key)
        if reader is None:
            mistakes.append(((str(key),), f"is no part of it{nearest(str(key), readers)}"))
            continue
        if part is None and key not in ("count", "age"):
            continue
        try:
            found[key], inner = reader(part)
        except ValueError as error:
            inner = [((), str(error))]
            found.pop(key, None)
        mistakes.extend(((str(key), *place), text) for place, text in inner)
    return found, mistakes


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _age(value: object) -> tuple[float, list[Mistake]]:
    return duration(value), []


def _limit_of_age(value: object) -> tuple[float | None, list[Mistake]]:
    return None if value is None else duration(value), []


def _limit_of_count(value: object) -> tuple[int | None, list[Mistake]]:
    return None if value is None else _whole(value, 1), []


def _rows(value: object) -> tuple[int, list[Mistake]]:
    return _whole(value, 0), []


def _whole(value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= MAX_COUNT:
        raise ValueError(f"must be a whole number from {least} to {MAX_COUNT}")
    return value


def _logs(value: object) -> tuple[dict[str, Any], list[Mistake]]:
    return _read_parts(value, dict.fromkeys((*LEVELS, ALL), _age))


def _builds(value: object) -> tuple[dict[str, Any], list[Mistake]]:
    return _read_parts(value, {"count": _limit_of_count, "age": _limit_of_age})


_OWN: Mapping[str, _Reader] = {"builds": _builds, "log_rows": _rows}
_SECTION: Mapping[str, _Reader] = {"logs": _logs, **_OWN}
