"""The log of a build: filtered, a part at a time by the numbers of its lines, and as files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Left, Length
from django.utils import timezone

from builds.models import Build, LogMessage
from builds.pages.tracebacks import traceback_links
from builds.presentation import log_line
from builds.reading import read_together
from jobcontrol.utils import TracebackInfo

LINES = 200  # per page
TAIL_LINES = 30  # on the build's own page
MESSAGE_CHARS = 4_000  # of one message among others; alone it is shown whole
TRACEBACKS = 20  # unfolded per page; the others stand behind a link
COUNTED_LINES = 100_000  # counts are exact up to so many lines of a build
BATCH = 1_000  # lines read at a time for a file
MAX_TEXT = 500  # characters of a search
LEVELS = {logging.getLevelName(level): level for level in (10, 20, 30, 40, 50)}
_BIGGEST = 2**63 - 1


@dataclass(frozen=True)
class LogQuestion:
    """Which lines of a log are asked for, as the address says it."""

    level: str  # a name of `LEVELS`, or nothing for all
    text: str
    place: str  # what `number` is to the lines shown: after, before, from, line; or tail
    number: int

    @classmethod
    def read(cls, query: Mapping[str, str]) -> LogQuestion:
        """Read an address; what makes no sense there asks for nothing."""
        level = query.get("level", "").upper()
        place, number = ("tail", 0) if query.get("tail") else ("", 0)
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
        )

    @property
    def is_filtered(self) -> bool:
        """Whether some lines are left out."""
        return bool(self.level or self.text)

    def matches(self) -> Q:
        """Return the condition that lines fulfil."""
        return self.of_level(self.level) & self.of_text()

    def of_text(self) -> Q:
        """Return the condition of the search alone."""
        return Q(message__icontains=self.text) if self.text else Q()

    @staticmethod
    def of_level(level: str) -> Q:
        """Return the condition of a level, and those above it."""
        return Q(level__gte=LEVELS[level]) if level else Q()


def log_page(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a build's log, and the counts of what the filters would show."""
    asked = LogQuestion.read(query)
    return read_together(build, lambda found: _log_page(found, asked))


def _log_page(build: Build, asked: LogQuestion) -> dict[str, Any]:
    messages = LogMessage.objects.filter(asked.matches(), build=build)
    found, more = _part(messages, asked)
    whole = asked.place == "line"
    return {
        "build": build,
        "asked": asked,
        "lines": _lines(found, whole=whole),
        "alone": whole,
        "newer": found[-1].pk if found and more else None,
        "older": found[0].pk if found and _has_older(messages, asked, found[0]) else None,
        **_counts(build, asked),
    }


def log_tail(build: Build) -> dict[str, Any]:
    """Return the last lines of a build's log."""
    messages = LogMessage.objects.filter(build=build)
    rows = list(_heads(messages).order_by("-pk")[: TAIL_LINES + 1])
    shown = rows[:TAIL_LINES][::-1]
    return {"log_lines": _lines(shown, whole=False), "log_has_more": len(rows) > TAIL_LINES}


def _part(messages: QuerySet[LogMessage], asked: LogQuestion) -> tuple[list[LogMessage], bool]:
    """Return the lines of a page, and whether newer ones follow."""
    if asked.place == "line":
        return list(messages.filter(pk=asked.number)), False
    heads = _heads(messages)
    if asked.place in ("before", "tail"):
        older = heads.filter(pk__lt=asked.number) if asked.place == "before" else heads
        rows = list(older.order_by("-pk")[:LINES])[::-1]
        return rows, asked.place == "before"
    if asked.place == "after":
        heads = heads.filter(pk__gt=asked.number)
    elif asked.place == "from":
        heads = heads.filter(pk__gte=asked.number)
    rows = list(heads.order_by("pk")[: LINES + 1])
    return rows[:LINES], len(rows) > LINES


def _has_older(messages: QuerySet[LogMessage], asked: LogQuestion, first: LogMessage) -> bool:
    if not asked.place or asked.place == "line":
        return False
    return messages.filter(pk__lt=first.pk).order_by("-pk").exists()


def _heads(messages: QuerySet[LogMessage]) -> QuerySet[LogMessage]:
    """Load the beginnings of messages, which may be long, and only whether they have exceptions."""
    has_exception = ExpressionWrapper(Q(exception__isnull=False), output_field=BooleanField())
    return messages.defer("message", "exception").annotate(
        head=Left("message", MESSAGE_CHARS),
        size=Length("message"),
        has_exception=has_exception,
    )


def _lines(messages: list[LogMessage], *, whole: bool) -> list[dict[str, Any]]:
    if whole:
        exceptions = {message.pk: message.exception for message in messages}
    else:
        having = [one.pk for one in messages if getattr(one, "has_exception", False)][:TRACEBACKS]
        rows = LogMessage.objects.filter(pk__in=having) if having else LogMessage.objects.none()
        exceptions = dict(rows.values_list("pk", "exception"))
    return [
        {
            "message": message,
            "level": logging.getLevelName(message.level),
            "text": message.message if whole else getattr(message, "head", ""),
            "hidden": 0 if whole else max(getattr(message, "size", 0) - MESSAGE_CHARS, 0),
            "traceback": traceback_links(exceptions.get(message.pk)),
            "elsewhere": getattr(message, "has_exception", False) and message.pk not in exceptions,
        }
        for message in messages
    ]


def _counts(build: Build, asked: LogQuestion) -> dict[str, Any]:
    """Count what each level would show of the lines searched, in one bounded look."""
    names = ["", *LEVELS]
    messages = LogMessage.objects.filter(build=build).order_by("pk")
    wanted = {
        f"n{number}": Count("pk", filter=asked.of_text() & asked.of_level(name) & Q(pk__gt=0))
        for number, name in enumerate(names)
    }
    found = messages[:COUNTED_LINES].aggregate(**wanted)
    return {
        "levels": [
            {"name": name, "count": found[f"n{number}"], "chosen": name == asked.level}
            for number, name in enumerate(names)
        ],
        "count": found[f"n{names.index(asked.level)}"],
        "is_long": messages[COUNTED_LINES : COUNTED_LINES + 1].exists(),
        "counted_lines": COUNTED_LINES,
    }


# --- Files ----------------------------------------------------------------------------------------


def stream_log(build: Build, query: Mapping[str, str], *, as_json: bool) -> Iterator[str]:
    """Yield the lines that the filters leave, as text or as JSON documents, a batch at a time."""
    asked = LogQuestion.read(query)
    messages = LogMessage.objects.filter(asked.matches(), build=build).order_by("pk")
    write = _json_line if as_json else _text_line
    last = 0
    while batch := list(messages.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        yield "".join(write(message) for message in batch)


def _json_line(message: LogMessage) -> str:
    return json.dumps(log_line(message), ensure_ascii=False) + "\n"


def _text_line(message: LogMessage) -> str:
    # With its zone: a file is read elsewhere, where nothing else says whose time it is.
    local = timezone.localtime(message.created)
    created = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local:%z}"
    level = logging.getLevelName(message.level)
    line = f"{created} {level:<8} {message.logger}: {message.message}\n"
    if message.exception:
        line += TracebackInfo.from_json(message.exception).format()
    return line
