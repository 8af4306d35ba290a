"""Ages and times as people type them on a command line."""

from __future__ import annotations

import argparse
import logging
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from jobs.policies import parse_duration

# Nearer to the edges of the calendar, a time in one zone is none in another. Nothing of ours
# happened before or happens after, so that a time beyond means the same as these.
_FIRST, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def age(text: str) -> timedelta:
    """Read an age: `15d`, `2w`, `1h`, `30m`, `90s`, or a number of seconds.

    Raises argparse.ArgumentTypeError for anything else.
    """
    seconds = parse_duration(text)
    if seconds is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no age: use for example 15d, 2w, 1h, 30m or a number of seconds"
        )
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from None


def moment(text: str) -> datetime:
    """Read a time: ISO 8601 (in the site's zone unless it names one), or an age: `1h` ago.

    A time before 1970 is the beginning of that year, one after 2999 the end of that.
    Raises argparse.ArgumentTypeError for anything else.
    """
    try:
        return timezone.now() - age(text)
    except argparse.ArgumentTypeError:
        return _calendar_time(text.strip())
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from None


def _calendar_time(text: str) -> datetime:
    try:
        found = parse_datetime(text)
        day = parse_date(text) if found is None else None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: {error}") from None
    if found is None and day is not None:
        found = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - made aware below
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: use for example 2026-01-31, 2026-01-31T08:30 or 1h (ago)"
        )
    moment = timezone.make_aware(found) if timezone.is_naive(found) else found
    return min(max(moment, _FIRST), _END)


def level(text: str) -> int:
    """Read a level of logging: its name in any case, or its number.

    Raises argparse.ArgumentTypeError for anything else.
    """
    name = text.strip().upper()
    if name in LEVELS:
        return int(logging.getLevelName(name))
    if name.isdecimal() and len(name) < 5:
        return int(name)
    raise argparse.ArgumentTypeError(f"{text!r} is no level: use one of {', '.join(LEVELS)}")
