"""The log of a build on its pages: filtered, a part at a time, and what is new in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from builds.models import Build, LogMessage
from builds.pages import log_parts
from builds.pages.ansi import to_html
from builds.pages.log_parts import MESSAGE_CHARS, Part, heads, line_at, lines_of, news_of, part_of
from builds.pages.log_question import LEVELS, LogQuestion, read_moment
from builds.pages.tracebacks import traceback_links
from builds.reading import read_together

TAIL_LINES = 30  # on the build's own page
LIVE_LINES = 5_000  # to which a page grows while its build runs
TRACEBACKS = 20  # unfolded per page; the others stand behind a link
COUNTED_LINES = 20_000  # counts are exact up to so many lines of a build


def log_page(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a build's log, and the counts of what the filters would show."""
    asked = LogQuestion.read(query)
    return read_together(build, lambda found: _log_page(found, asked))


def _log_page(build: Build, asked: LogQuestion) -> dict[str, Any]:
    jump = _jump(build, asked)
    part = part_of(build, jump.asked)
    whole = asked.place == "line"
    is_end = part.newer is None and (part.stopped is None or part.is_backward)
    return {
        "build": build,
        "asked": asked,
        "jump": jump,
        "lines": _lines(part.lines, asked, whole=whole),
        "alone": whole,
        "newer": part.newer,
        "older": part.older,
        "part": part,
        "looked_at": log_parts.LOOKED_AT,
        "live": _live(build, part) if is_end and not whole else None,
        "live_most": LIVE_LINES,
        **_counts(build, asked),
    }


def log_tail(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the last lines of a build's log; `query` may ask for long ones not to be broken."""
    rows = list(heads(lines_of(build)).reverse()[: TAIL_LINES + 1])
    shown = rows[:TAIL_LINES][::-1]
    return {
        "log_lines": _lines(shown, None, whole=False),
        "log_has_more": len(rows) > TAIL_LINES,
        "log_live": _live(build, Part(shown)),
        "log_kept": TAIL_LINES,
        "log_wraps": LogQuestion.read(query).wraps,
    }


@dataclass(frozen=True)
class News:
    """What was logged since a page was loaded: the context of its lines, and where that ends."""

    context: dict[str, Any]
    last: int
    is_over: bool
    counts: str = ""  # as the choices of levels show them, in their order


def log_news(build: Build, query: Mapping[str, str]) -> News:
    """Return the lines after the number in `after`; `build` was read before them.

    Nothing is written for a build that has ended, so that after those lines there are no more.
    """
    asked = LogQuestion.read(query)
    if asked.place != "after":
        asked = replace(asked, place="after", number=0)
    part, last = news_of(build, asked)
    context = {
        "build": build,
        "lines": _lines(part.lines, asked, whole=False),
        "gap": asked.number if part.older else None,
        "asked": asked,
    }
    # Counting costs more than reading: it is asked for now and then.
    levels = _counts(build, asked)["levels"] if query.get("counts") else []
    counts = ",".join(f"{level['count']}{'+' if level['is_open'] else ''}" for level in levels)
    return News(context, last, build.finished, counts)


def _live(build: Build, part: Part) -> int | None:
    """Return the number after which new lines will come, None if none will."""
    if build.finished:
        return None
    return part.lines[-1].pk if part.lines else 0


# --- Going to a time ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jump:
    """A time that was asked for, and the question that it comes to."""

    asked: LogQuestion
    moment: datetime | None = None
    line: int | None = None  # the first one at that time
    problem: str = ""


def _jump(build: Build, asked: LogQuestion) -> Jump:
    if asked.place != "at":
        return Jump(asked)
    moment = read_moment(asked.at, asked.zone, build)
    if moment is None:
        return Jump(replace(asked, place=""), problem="unread")
    line = line_at(build, moment)
    if line is None:
        return Jump(replace(asked, place="tail"), moment, problem="late")
    return Jump(replace(asked, place="from", number=line), moment, line)


# --- Lines and counts -----------------------------------------------------------------------------


def _lines(
    messages: list[LogMessage], asked: LogQuestion | None, *, whole: bool
) -> list[dict[str, Any]]:
    if whole:
        exceptions = {message.pk: message.exception for message in messages}
    else:
        having = [one.pk for one in messages if getattr(one, "has_exception", False)][:TRACEBACKS]
        rows = LogMessage.objects.filter(pk__in=having) if having else LogMessage.objects.none()
        exceptions = dict(rows.values_list("pk", "exception"))
    find = asked.text if asked else ""
    return [
        {
            "message": message,
            "level": logging.getLevelName(message.level),
            "text": to_html(message.message if whole else getattr(message, "head", ""), find),
            "hidden": 0 if whole else max(getattr(message, "size", 0) - MESSAGE_CHARS, 0),
            "traceback": traceback_links(exceptions.get(message.pk)),
            "elsewhere": getattr(message, "has_exception", False) and message.pk not in exceptions,
        }
        for message in messages
    ]


def _counts(build: Build, asked: LogQuestion) -> dict[str, Any]:
    """Count what each level would show of the lines searched, in two bounded looks at most.

    The second one is for the levels that are rare, whose lines stand together in an index: a long
    log's errors are counted to its end.
    """
    names = ["", *LEVELS]
    messages = lines_of(build)
    counts, is_long = _count(messages, asked, names)
    open_counts = set(names) if is_long else set()
    if is_long:
        rare = [name for name in LEVELS if LEVELS[name] >= LogMessage.RARE_LEVEL]
        of_rare = messages.filter(level__gte=LogMessage.RARE_LEVEL)
        found, is_rare_long = _count(of_rare, asked, rare)
        counts |= found
        open_counts -= set() if is_rare_long else set(rare)
    return {
        "levels": [
            {
                "name": name,
                "count": counts[name],
                "is_open": name in open_counts,
                "chosen": name == asked.level,
            }
            for name in names
        ],
        "is_long": is_long,
        "counted_lines": COUNTED_LINES,
    }


def _count(
    messages: QuerySet[LogMessage], asked: LogQuestion, names: list[str]
) -> tuple[dict[str, int], bool]:
    """Count the first lines, by what each level would show; return whether there are more."""
    # Found once for each line, however many levels count it.
    looked_at = messages.annotate(hit=asked.hit())
    wanted = {
        f"n{number}": Count("hit", filter=asked.of_level(name) & Q(pk__gt=0))
        for number, name in enumerate(names)
    }
    found = looked_at[: COUNTED_LINES + 1].aggregate(all=Count("pk"), **wanted)
    is_long = found["all"] > COUNTED_LINES
    # One more line than is counted was looked at, to know that there is one.
    counts = {name: min(found[f"n{n}"], COUNTED_LINES) for n, name in enumerate(names)}
    return counts, is_long
