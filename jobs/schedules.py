"""When a job is due by itself: `schedule` of its block, as the file says it.

An entry is a cron expression or `every`; both are read and counted here, without a database. What
was started and what was missed is known to `builds`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from jobs import tags
from jobs.policies import duration, spoken
from jobs.problems import describe, nearest, quoted
from jobs.redaction import Redactor

CATCH_UP = ("none", "last", "all")
OVERLAP = ("skip", "queue", "allow")
MAX_ENTRIES = 100
MAX_EXPRESSION = 200  # characters
LEAST_SECONDS = 1.0

_KEYS = ("cron", "every", "timezone", "catch_up", "overlap", "args", "kwargs")
_FIELDS = (
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L or LW"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT"),
)
# A Monday, so that `every: 1w` is due at the beginning of weeks.
_ANCHOR = datetime(2001, 1, 1)  # noqa: DTZ001 - in the zone of the entry
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

# Where a mistake stands within `schedule`, and what it is.
Mistake = tuple[tuple[object, ...], str]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One entry: a `cron` expression, or `every` so many seconds.

    `timezone` is "" for the site's own until the entry is stored. `args` and `kwargs` stand in
    place of the job's own; None keeps those.
    """

    cron: str = ""
    every: float = 0.0
    timezone: str = ""
    catch_up: str = "none"
    overlap: str = "skip"
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None

    def __str__(self) -> str:
        return _named(self.cron, self.every)

    def due_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield all times at which it is due after `moment`, in order, in UTC."""
        zone = ZoneInfo(self.timezone or "UTC")
        if self.every:
            return _multiples(self.every, zone, moment)
        if _is_of_one_time(self.cron):
            return _times_of_day(self.cron, zone, moment)
        return _times_of_the_clock(self.cron, zone, moment)

    def newest_due(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last time after `after`, and not after `until`, at which it is due."""
        span = timedelta(minutes=1)
        while True:
            start = max(after, until - span)
            newest = None
            for due in self.due_after(start):
                if due > until:
                    break
                newest = due
            if newest is not None or start == after:
                return newest
            span *= 4

    def to_json(self, *, site_zone: str, masker: Redactor | None = None) -> dict[str, Any]:
        """Return it as it is stored: with its zone, secrets as references, and a `key` of all."""
        found: dict[str, Any] = {"cron": self.cron} if self.cron else {"every": self.every}
        found |= {"timezone": self.timezone or site_zone}
        found |= {"catch_up": self.catch_up, "overlap": self.overlap}
        if self.args is not None:
            found["args"] = tags.encode(self.args, masker)
        if self.kwargs is not None:
            found["kwargs"] = tags.encode(self.kwargs, masker)
        text = json.dumps(found, sort_keys=True)
        return {"key": hashlib.sha256(text.encode("ascii")).hexdigest(), **found}


def stored(rows: Iterable[Mapping[str, Any]]) -> dict[str, Schedule]:
    """Return the entries that `Schedule.to_json` made, by their keys.

    Raises ValueError for arguments that it can't have made.
    """
    return {row["key"]: _from_json(row) for row in rows}


def name_of(rows: Iterable[Mapping[str, Any]], key: str) -> str:
    """Return what the stored entry with this key is called; "" when there is none any more."""
    found = (row for row in rows if row["key"] == key)
    return next((_named(row.get("cron", ""), row.get("every", 0.0)) for row in found), "")


def _named(cron: str, every: float) -> str:
    return cron or f"every {spoken(every)}"


def _from_json(row: Mapping[str, Any]) -> Schedule:
    given = {name: row[name] for name in _KEYS if name in row}
    given |= {name: tags.decode(given[name]) for name in ("args", "kwargs") if name in given}
    return Schedule(**given)


def runs_after(
    entries: Iterable[Schedule], moment: datetime
) -> Iterator[tuple[datetime, Schedule]]:
    """Yield when any of the entries is due after `moment`, and which, in order."""
    times = [zip(entry.due_after(moment), repeat(entry)) for entry in entries]
    return heapq.merge(*times, key=lambda found: found[0])


# --- Counting -------------------------------------------------------------------------------------


def _multiples(seconds: float, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Count from a fixed moment, so that neither restarts nor the file shift it."""
    anchor = _ANCHOR.replace(tzinfo=zone).astimezone(UTC)
    step = timedelta(seconds=seconds)
    number = (after - anchor) // step
    while True:
        number += 1
        yield anchor + step * number


def _is_of_one_time(cron: str) -> bool:
    """Tell whether it names times of the day, which cron gives once a day, come what may."""
    parts = cron.split()
    return len(parts) == 5 and not (parts[0].startswith("*") or parts[1].startswith("*"))


def _times_of_day(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield each time once: at the change of the clock when that leaves it out."""
    for local in CronSim(cron, _local(after, zone)):
        due = _moment(local, zone)
        if due > after:
            yield due
            after = due


def _times_of_the_clock(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield whenever the clock on the wall shows a time that fits, twice in an hour shown twice.

    The library counts on a clock that is never changed; ours begins anew at each change. (Its own
    steps of an hour go wrong where the clock is changed by half of one.)
    """
    start = _local(after, zone)
    while True:
        offset = _offset(after, zone)
        change = None
        for local in CronSim(cron, start):
            due = local.replace(tzinfo=UTC) - offset
            change = _next_change(zone, after, due)
            if change is not None:
                break
            yield due
            after = due
        if change is None:
            return
        after, start = change, _local(change, zone) - _SECOND


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock shows this first; if it leaves it out, when it does so."""
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    if _local(moment, zone) == local:
        return moment
    before_the_change = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _next_change(zone, before_the_change, moment) or moment


def _next_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """Return when the clock is changed after `after`, and not after `until`; to the second."""
    offset = _offset(after, zone)
    while after < until:
        day = min(after + _DAY, until)
        if _offset(day, zone) != offset:
            return _change_within(zone, after.replace(microsecond=0), day)
        after = day
    return None


def _change_within(zone: ZoneInfo, before: datetime, changed: datetime) -> datetime:
    offset = _offset(before, zone)
    while changed - before > _SECOND:
        middle = before + (changed - before) / 2
        middle = middle.replace(microsecond=0)
        if middle <= before:
            break
        if _offset(middle, zone) == offset:
            before = middle
        else:
            changed = middle
    return changed.replace(microsecond=0)


# --- Reading --------------------------------------------------------------------------------------


def read(value: object) -> tuple[tuple[Schedule, ...], list[Mistake]]:
    """Read `schedule` of a job's block: the entries, and all that is wrong with it."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    if value is None or not items:
        return (), []
    is_list = isinstance(value, list | tuple)
    found: list[Schedule] = []
    mistakes: list[Mistake] = []
    for index, item in enumerate(items):
        reader = _EntryReader()
        entries = reader.read(item)
        place, name = ((index,), f"entry {index + 1}: ") if is_list else ((), "")
        mistakes += [((*place, *within), name + text) for within, text in reader.mistakes]
        for entry in entries:
            # With a mistake in it, it may be alike only because of what stands in for the mistake.
            if entry in found and not reader.mistakes:
                mistakes.append((place, f"{name}{str(entry)!r} stands here twice"))
            found.append(entry)
    if len(found) > MAX_ENTRIES:
        mistakes.append(((), f"has {len(found)} entries; at most {MAX_ENTRIES} are allowed"))
    return tuple(found), mistakes


class _EntryReader:
    """Reads one item of `schedule`, and collects what is wrong with it."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def read(self, item: object) -> list[Schedule]:
        """Return the entries that an item means; several where `cron` is a list."""
        if isinstance(item, str):
            word, _, rest = item.strip().partition(" ")
            item = {"every": rest} if word.rstrip(":").lower() == "every" else {"cron": item}
        if not isinstance(item, Mapping):
            wanted = "a cron expression such as '0 3 * * *', or a mapping with 'cron' or 'every'"
            self._wrong((), f"must be {wanted}, not {describe(item)}")
            return []
        given = {key: part for key, part in item.items() if part is not None}
        for key in given:
            if key not in _KEYS:
                self._wrong((key,), f"{quoted(key)} is no part of it{nearest(key, _KEYS)}")
        template = Schedule(
            timezone=self._zone(given.get("timezone")),
            catch_up=self._choice(given, "catch_up", CATCH_UP),
            overlap=self._choice(given, "overlap", OVERLAP),
            args=self._args(given.get("args")),
            kwargs=self._kwargs(given.get("kwargs")),
        )
        if ("cron" in given) == ("every" in given):
            both = "has both 'cron' and 'every': make two entries of it"
            self._wrong((), both if "cron" in given else "has neither 'cron' nor 'every'")
            return []
        if "every" in given:
            seconds = self._every(given["every"])
            return [replace(template, every=seconds)] if seconds else []
        return [replace(template, cron=cron) for cron in self._crons(given["cron"])]

    def _wrong(self, place: tuple[object, ...], text: str) -> None:
        self.mistakes.append((place, text))

    def _every(self, value: object) -> float:
        try:
            seconds = duration(value)
        except ValueError as error:
            self._wrong(("every",), f"'every' {error}")
            return 0.0
        if seconds < LEAST_SECONDS:
            self._wrong(("every",), f"'every' must be a second at least, not {spoken(seconds)}")
            return 0.0
        return seconds

    def _crons(self, value: object) -> Iterator[str]:
        given = list(value) if isinstance(value, list | tuple) else [value]
        if not given:
            self._wrong(("cron",), "'cron' must not be an empty list")
        for index, one in enumerate(given):
            place = ("cron", index) if isinstance(value, list | tuple) else ("cron",)
            if not isinstance(one, str):
                self._wrong(place, f"'cron' must be text, not {describe(one)}")
                continue
            text = " ".join(one.split())
            problems = cron_problems(text)
            for problem in problems:
                self._wrong(place, f"{quoted(text)}: {problem}")
            if not problems:
                yield text

    def _zone(self, value: object) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            self._wrong(("timezone",), f"'timezone' must be text, not {describe(value)}")
            return ""
        try:
            ZoneInfo(value)
        except (LookupError, ValueError, OSError):
            hint = nearest(value, available_timezones())
            self._wrong(("timezone",), f"there is no time zone {quoted(value)}{hint}")
            return ""
        return value

    def _choice(self, given: Mapping[Any, Any], key: str, known: tuple[str, ...]) -> str:
        value = given.get(key, known[0])
        if value in known:
            return str(value)
        wanted = f"{', '.join(known[:-1])} or {known[-1]}"
        hint = nearest(value, known) if isinstance(value, str) else ""
        self._wrong((key,), f"{key!r} must be {wanted}, not {quoted(value)}{hint}")
        return known[0]

    def _args(self, value: object) -> list[Any] | None:
        if value is None or isinstance(value, list | tuple):
            return None if value is None else list(value)
        self._wrong(("args",), f"'args' must be a list, not {describe(value)}")
        return None

    def _kwargs(self, value: object) -> dict[str, Any] | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong(("kwargs",), f"'kwargs' must be a mapping, not {describe(value)}")
            return None
        for name in value:
            if not isinstance(name, str):
                text = f"an argument's name must be text, not {describe(name)}"
                self._wrong(("kwargs",), f"'kwargs': {text}")
        return value


def cron_problems(text: str) -> list[str]:
    """Say what is wrong with a cron expression; nothing when it can be used."""
    if len(text) > MAX_EXPRESSION:
        return [f"is longer than {MAX_EXPRESSION} characters"]
    parts = text.split()
    if len(parts) not in (5, 6):
        names = ", ".join(name for name, _ in _FIELDS[1:])
        return [f"must have five fields ({names}), or six with the second before them"]
    fields = _FIELDS[6 - len(parts) :]
    wrong = [
        f"{quoted(part)} is no {name} ({known}; with *, lists, ranges and steps)"
        for index, (part, (name, known)) in enumerate(zip(parts, fields, strict=True))
        if not _is_field(part, 6 - len(parts) + index)
    ]
    if wrong:
        return wrong
    try:
        next(CronSim(text, _ANCHOR))
    except (CronSimError, StopIteration):
        return ["there is no such day"]
    return []


def _is_field(part: str, index: int) -> bool:
    alone = ["*"] * 6
    alone[index] = part
    try:
        CronSim(" ".join(alone), _ANCHOR)
    except (CronSimError, AssertionError, ValueError):
        return False
    return True
