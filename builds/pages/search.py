"""Finding builds, plans and jobs by what somebody types: a number, a name, or words of an error.

Errors have no index of their own. A search looks at so many failed builds, the newest first (by the
index of states), stops after so many hits, and says where; it can be gone on with from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from builds.models import Build
from builds.plan_models import Plan
from builds.status import reason
from jobcontrol.utils.text import clean_text
from jobs.models import Job

MAX_TEXT = 200  # characters of what is searched
MAX_WORDS = 10
MAX_NUMBER = 2**63 - 1
JOBS_SHOWN = 20
FAILURES_LOOKED_AT = 5_000  # failed builds at a time
FAILURES_SHOWN = 50
NEWEST_SHOWN = 5
BEFORE_HIT, EXCERPT = 60, 240  # characters of an error around what was found

_NUMBER = re.compile(r"#?\s*(\d{1,19})", re.ASCII)
_WORD = re.compile(r'"([^"]*)"|(\S+)')

Piece = tuple[str, bool]  # a text, and whether it is what was searched


@dataclass(frozen=True)
class Question:
    """What is searched: the text, its words, and the number that it is, if it is one.

    Words between quotes are one; a text that begins with one is never a number.
    """

    text: str
    words: tuple[str, ...] = ()
    number: int | None = None
    before: int | None = None  # only failed builds with smaller numbers

    @classmethod
    def read(cls, text: str, before: str = "") -> Question:
        """Read what was typed, and from where a search goes on."""
        text = clean_text(text).strip()[:MAX_TEXT]
        found = (quoted or word for quoted, word in _WORD.findall(text))
        words = tuple(dict.fromkeys(word for word in found if word))[:MAX_WORDS]
        number = _NUMBER.fullmatch(text)
        return cls(text, words, _number(number[1]) if number else None, _number(before))


@dataclass(frozen=True)
class Failure:
    """A failed build, and its error around what was found."""

    build: Build
    excerpt: Sequence[Piece]


@dataclass(frozen=True)
class Failures:
    """Failed builds that were found, and how far was looked."""

    lines: list[Failure] = field(default_factory=list)
    goes_on: int | None = None  # before which the search goes on
    is_full: bool = False  # whether it stopped because so many were found


def search(asked: Question, may: Callable[[str], bool]) -> dict[str, Any]:
    """Return what is found by somebody who `may` do what; None for parts that are not theirs.

    `only` is the build, plan or job that a number names and nothing else does: nothing else is
    looked for then.
    """
    sees_builds, sees_jobs = may("builds.view_build"), may("jobs.view_job")
    found: dict[str, Any] = {
        "asked": asked,
        "looked_at": FAILURES_LOOKED_AT,
        "shown": FAILURES_SHOWN,
        "only": None,
        "build": None,
        "plan": None,
        "jobs": None,
        "failures": None,
        "sees_something": sees_builds or sees_jobs or may("builds.view_plan"),
    }
    if not asked.words:
        return found
    is_first = asked.before is None
    if asked.number is not None and is_first:
        found["build"] = _one(Build, asked.number) if sees_builds else None
        found["plan"] = _one(Plan, asked.number) if may("builds.view_plan") else None
        named = _jobs_of_id(asked) if sees_jobs else []
        named += filter(None, [found["build"], found["plan"]])
        if len(named) == 1:
            return {**found, "only": named[0]}
    if sees_jobs and is_first:
        found["jobs"] = _jobs(asked)
    if sees_builds:
        found["failures"] = _failures(asked)
    return found


def newest_of(user: Any) -> list[Build]:
    """Return the newest builds that somebody asked for."""
    return list(_light(Build.objects.filter(requested_by=user).newest_first())[:NEWEST_SHOWN])


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        return None
    return min(int(text), MAX_NUMBER)


def _one(model: type[Any], number: int) -> Any:
    return model.objects.select_related("job").filter(pk=number).first()


def _light(builds: Any) -> Any:
    columns = ("pk", "job", "job__title", "status", "created", "start_time", "end_time")
    return builds.select_related("job").only(*columns)


# --- Jobs -----------------------------------------------------------------------------------------


def _jobs_of_id(asked: Question) -> list[Any]:
    jobs = Job.objects.only("pk", "title", "tags", "retired", "protected", "problem")
    return list(jobs.filter(pk=asked.text))


def _jobs(asked: Question) -> dict[str, Any]:
    """Return the jobs whose id, title or tags have all words; one of that very id comes first."""
    every = Q()
    for word in asked.words:
        every &= Q(pk__icontains=word) | Q(title__icontains=word) | Q(tag_text__icontains=word)
    jobs = Job.objects.only("pk", "title", "tags", "retired", "protected", "problem")
    exact = _jobs_of_id(asked)
    others = jobs.filter(every).exclude(pk=asked.text)[: JOBS_SHOWN + 1 - len(exact)]
    lines = [*exact, *others]
    return {"lines": lines[:JOBS_SHOWN], "more": len(lines) > JOBS_SHOWN}


# --- Errors ---------------------------------------------------------------------------------------


def _failures(asked: Question) -> Failures:
    """Return failed builds whose error has all words, the newest first, within the bound."""
    failed = Build.objects.filter(status=Build.Status.FAILED).newest_first()
    if asked.before is not None:
        failed = failed.filter(pk__lt=asked.before)
    # The last one that is looked at: found in the index alone.
    last = failed.values_list("pk", flat=True)[FAILURES_LOOKED_AT - 1 : FAILURES_LOOKED_AT].first()
    if last is not None:
        failed = failed.filter(pk__gte=last)
    for word in asked.words:
        failed = failed.filter(
            Q(exception_message__icontains=word) | Q(exception_type__icontains=word)
        )
    columns = ("pk", "job", "job__title", "status", "end_time", "failure_kind")
    rows = failed.select_related("job").only(*columns, "exception_type", "exception_message")
    found = list(rows[: FAILURES_SHOWN + 1])
    shown = found[:FAILURES_SHOWN]
    is_full = len(found) > len(shown)
    lines = [Failure(one, list(excerpt(reason(one), asked.words))) for one in shown]
    return Failures(lines, shown[-1].pk if is_full else last, is_full)


def excerpt(text: str, words: Sequence[str]) -> Iterator[Piece]:
    """Return the part of a text around the first of the words, in pieces: those found, and others.

    In one line, whatever the text has.
    """
    text = " ".join(text.split())
    any_word = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    first = any_word.search(text)
    start = max(first.start() - BEFORE_HIT, 0) if first else 0
    shown = text[start : start + EXCERPT]
    place = 0
    yield ("…" if start else "", False)
    for hit in any_word.finditer(shown):
        yield shown[place : hit.start()], False
        yield hit[0], True
        place = hit.end()
    yield shown[place:] + ("…" if start + EXCERPT < len(text) else ""), False
