"""What is asked of a build's log, as an address says it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import BigIntegerField, Case, F, Q, When
from django.utils import timezone

from builds.models import Build, LogMessage

LEVELS = {logging.getLevelName(level): level for level in (10, 20, 30, 40, 50)}
MAX_TEXT = 500  # characters of a search
_BIGGEST = 2**63 - 1


@dataclass(frozen=True)
class LogQuestion:
    """Which lines of a log are asked for, as the address says it."""

    level: str  # a name of `LEVELS`, or nothing for all
    text: str
    place: str  # what `number` is to the lines shown: after, before, from, line; or tail, at
    number: int
    at: str = ""  # a time, as it was written
    zone: str = ""  # the time zone that it is meant in; nothing for the site's
    wraps: bool = True  # whether long lines are broken

    @classmethod
    def read(cls, query: Mapping[str, str]) -> LogQuestion:
        """Read an address; what makes no sense there asks for nothing."""
        level = query.get("level", "").upper()
        at = query.get("at", "").strip()[:100]
        place, number = ("tail", 0) if query.get("tail") else ("at", 0) if at else ("", 0)
        for name in ("after", "before", "from", "line"):
            value = query.get(name, "")
            if value.isdecimal() and int(value[:20]) <= _BIGGEST:
                place, number = name, int(value[:20])
                break
        return cls(
            level=level if level in LEVELS else "",
            text=query.get("q", "").replace("\x00", "")[:MAX_TEXT],
            place=place,
            number=number,
            at=at if place == "at" else "",
            zone=query.get("zone", "").strip()[:100],
            wraps=query.get("wrap") != "no",
        )

    @property
    def is_filtered(self) -> bool:
        """Whether some lines are left out."""
        return bool(self.level or self.text)

    def matches(self) -> Q:
        """Return the condition that lines fulfil."""
        return self.of_level(self.level) & self.of_text()

    def walked(self) -> Q:
        """Return the condition of an index on which all lines that match stand, in order."""
        is_rare = LEVELS.get(self.level, 0) >= LogMessage.RARE_LEVEL
        return Q(level__gte=LogMessage.RARE_LEVEL) if is_rare else Q()

    @property
    def is_walked_in_vain(self) -> bool:
        """Whether many lines may have to be looked at to find one that matches."""
        return bool(self.text) or self.level not in ("", logging.getLevelName(30))

    def of_text(self) -> Q:
        """Return the condition of the search alone."""
        return Q(message__icontains=self.text) if self.text else Q()

    def hit(self) -> Case | F:
        """Return an expression that is a number for a line with that text, and NULL for others."""
        if not self.text:
            return F("pk")
        return Case(When(self.of_text(), then=F("pk")), output_field=BigIntegerField())

    @staticmethod
    def of_level(level: str) -> Q:
        """Return the condition of a level, and those above it."""
        return Q(level__gte=LEVELS[level]) if level else Q()


# --- Times ----------------------------------------------------------------------------------------


def read_moment(text: str, zone: str, build: Build) -> datetime | None:
    """Return the moment that somebody wrote, None if it is none.

    It may be whole, or only the time of day: then the first such one since the build began. Without
    an offset it is meant in the named zone, else in the site's.
    """
    place = _zone(zone)
    # As the log itself writes it, with a comma for the fraction as others do, or without a nought.
    text = re.sub(r"^(\d):", r"0\1:", text.replace(",", "."))
    try:
        if re.match(r"\d{1,2}:", text):
            found = _time_of_day(time.fromisoformat(text), place, build)
        else:
            whole = datetime.fromisoformat(text)
            found = whole if whole.tzinfo else whole.replace(tzinfo=place)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _time_of_day(clock: time, place: tzinfo, build: Build) -> datetime:
    clock = clock if clock.tzinfo else clock.replace(tzinfo=place)
    start = (build.start_time or build.created).astimezone(clock.tzinfo)
    found = datetime.combine(start.date(), clock)
    # The minute in which it began is written without its seconds.
    is_before = found < start.replace(second=0, microsecond=0)
    return found + timedelta(days=1) if is_before else found


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else timezone.get_default_timezone()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.get_default_timezone()
