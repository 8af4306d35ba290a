"""Parts of a log that may have a million lines: each is found in a bounded number of steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, Subquery
from django.db.models.functions import Left, Length

from builds.models import Build, LogMessage
from builds.pages.log_question import LogQuestion

LINES = 200  # per page
MESSAGE_CHARS = 4_000  # of one message among others; alone it is shown whole
LOOKED_AT = 20_000  # lines that one page looks at, to find those that match
LOOKED_BACK = 2_000  # lines before a page that are looked at for whether one matches
PROBES = 50  # moments that one step of the search for a time looks at
NEAR = 4_000  # lines among which a time is looked for one by one


@dataclass(frozen=True)
class Part:
    """Some lines of a log in their order, and how to go on from them."""

    lines: list[LogMessage] = field(default_factory=list)
    older: int | None = None  # lines before this number are older
    newer: int | None = None  # lines after this number are newer
    # Where the look for lines that match ended before the part was full: a line's number and time.
    stopped: tuple[int, datetime] | None = None
    is_backward: bool = False

    @property
    def before(self) -> int | None:
        """The number before which a look backward goes on."""
        return self.stopped[0] + 1 if self.stopped else None


def lines_of(build: Build) -> QuerySet[LogMessage]:
    """Return the lines of a build, in order: by the index of builds and lines, whatever happens.

    PostgreSQL takes the lines of a build for spread evenly over the table. Where one build has many
    of them it would go through the table by number until enough of its lines came, past all the
    lines of older builds. In the order of both columns, and for two builds (none has the number
    0), only that index will do.
    """
    if connection.vendor == "postgresql":
        return LogMessage.objects.filter(build__in=[build.pk, 0]).order_by("build_id", "pk")
    return LogMessage.objects.filter(build=build).order_by("pk")


def part_of(build: Build, asked: LogQuestion) -> Part:
    """Return the lines of a page."""
    if asked.place == "line":
        return Part(list(LogMessage.objects.filter(build=build, pk=asked.number)))
    if asked.place == "before":
        return _backward(build, asked, Q(pk__lt=asked.number))
    if asked.place == "tail":
        return _backward(build, asked, Q())
    start = {"after": Q(pk__gt=asked.number), "from": Q(pk__gte=asked.number)}
    return _forward(build, asked, start.get(asked.place, Q()))


def news_of(build: Build, asked: LogQuestion) -> tuple[Part, int]:
    """Return the newest lines after a number, and up to which number they are.

    Where there are more than a page of them, or than can be looked at, the older ones are left
    out: the part has `older` then.
    """
    walked = _walked(build, asked).filter(pk__gt=asked.number)
    newest = walked.reverse().values_list("pk", flat=True).first()
    if newest is None:
        return Part(), asked.number
    found = _backward(build, asked, Q(pk__gt=asked.number, pk__lte=newest))
    is_cut = found.stopped is not None or found.older is not None
    first = found.lines[0].pk if found.lines else newest + 1
    return Part(found.lines, older=first if is_cut else None), newest


def heads(messages: QuerySet[LogMessage]) -> QuerySet[LogMessage]:
    """Load the beginnings of messages, which may be long, and only whether they have exceptions."""
    has_exception = ExpressionWrapper(Q(exception__isnull=False), output_field=BooleanField())
    return messages.defer("message", "exception").annotate(
        head=Left("message", MESSAGE_CHARS),
        size=Length("message"),
        has_exception=has_exception,
    )


def _walked(build: Build, asked: LogQuestion) -> QuerySet[LogMessage]:
    return lines_of(build).filter(asked.walked())


def _forward(build: Build, asked: LogQuestion, start: Q) -> Part:
    walked = _walked(build, asked).filter(start)
    look = look_of(build, walked) if asked.is_walked_in_vain else Look()
    found = walked.filter(asked.matches())
    if look.first is not None:
        found = found.filter(pk__gte=look.first)
    if look.stopped:
        found = found.filter(pk__lt=look.stopped[0])
    rows = list(heads(found)[: LINES + 1])
    lines = rows[:LINES]
    if len(rows) > LINES:
        return Part(lines, older=_older(build, asked, lines), newer=lines[-1].pk)
    return Part(lines, older=_older(build, asked, lines), stopped=look.stopped)


def _backward(build: Build, asked: LogQuestion, end: Q) -> Part:
    walked = _walked(build, asked).filter(end).reverse()
    look = look_of(build, walked) if asked.is_walked_in_vain else Look()
    found = walked.filter(asked.matches())
    if look.first is not None:
        found = found.filter(pk__lte=look.first)
    if look.stopped:
        found = found.filter(pk__gt=look.stopped[0])
    rows = list(heads(found)[: LINES + 1])
    lines = rows[:LINES][::-1]
    is_full = len(rows) > LINES
    newer = lines[-1].pk if lines and asked.place == "before" else None
    return Part(
        lines,
        older=lines[0].pk if is_full else None,
        newer=newer,
        stopped=None if is_full else look.stopped,
        is_backward=True,
    )


@dataclass(frozen=True)
class Look:
    """Which lines are looked at: from the first one to the one at which that stops, if there is."""

    first: int | None = None
    stopped: tuple[int, datetime] | None = None


def look_of(build: Build, walked: QuerySet[LogMessage]) -> Look:
    """Return the bounds of a look for lines that match, of which there may be hardly any.

    Both of them, so that nothing outside is gone through, by whatever index.
    """
    after = slice(LOOKED_AT, LOOKED_AT + 1)
    first, number, created = _asked_at_once(
        build, walked.values("pk")[:1], walked.values("pk")[after], walked.values("created")[after]
    )
    return Look(first, (number, created) if number is not None else None)


def _older(build: Build, asked: LogQuestion, lines: list[LogMessage]) -> int | None:
    """Return the first line's number if one that matches comes before it, or may do so."""
    if not asked.place or not lines:
        return None
    first = lines[0].pk
    before = _walked(build, asked).filter(pk__lt=first).reverse()
    if not asked.is_walked_in_vain:
        return first if _has_one(before) else None
    end = before.values_list("pk", flat=True)[LOOKED_BACK : LOOKED_BACK + 1].first()
    if end is not None:
        return first
    return first if _has_one(before.filter(asked.matches())) else None


def _has_one(lines: QuerySet[LogMessage]) -> bool:
    # Not by `exists`, which forgets the order, and with it the index.
    return lines.values_list("pk").first() is not None


# --- Times ----------------------------------------------------------------------------------------


def line_at(build: Build, moment: datetime) -> int | None:
    """Return the number of the first line at a moment or after it, None if there is none.

    Lines are in the order in which they were written, which is nearly that of their times. No index
    has the times of one build, so its numbers are halved, or rather divided by `PROBES`.
    """
    lines = lines_of(build)
    both = (lines, lines.reverse())
    ends = (way.values(name)[:1] for way in both for name in ("pk", "created"))
    first, begin, last, end = _asked_at_once(build, *ends)
    if first is None or end < moment:
        return None
    if begin >= moment:
        return int(first)
    low, high = int(first), int(last)
    while high - low > NEAR:
        step = max((high - low) // (PROBES + 1), 1)
        points = range(low + step, high, step)
        at = (lines.filter(pk__gte=point).values("created")[:1] for point in points)
        times = _asked_at_once(build, *at)
        # None: the lines there were removed meanwhile.
        late = (n for n, found in enumerate(times) if found is None or found >= moment)
        after = next(late, len(times))
        low, high = (
            points[after - 1] if after else low,
            points[after] if after < len(points) else high,
        )
    near = lines.filter(pk__gte=low, created__gte=moment)
    return near.values_list("pk", flat=True).first()


def _asked_at_once(build: Build, *questions: QuerySet[Any, Any]) -> tuple[Any, ...]:
    """Return the answer to each question, which has one value at most, in one query."""
    wanted = {f"n{number}": Subquery(question) for number, question in enumerate(questions)}
    found = Build.objects.filter(pk=build.pk).annotate(**wanted).values_list(*wanted).first()
    return found or (None,) * len(wanted)
