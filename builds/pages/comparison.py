"""Two builds beside each other: what is the same, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Case, F, Subquery, Value, When
from django.db.models.functions import Left, Length
from django.utils import timezone

from builds.models import Build, BuildDependency, BuildPayload, BuildQuerySet
from builds.pages.build import RETVAL_SHOWN
from builds.pages.comparison_log import log_summaries
from builds.pages.comparison_parts import Row, Section, Side
from builds.pages.comparison_texts import configuration_sections, retval_section
from builds.pages.comparison_times import times_part
from builds.pages.configuration import SHOWN_CHARS
from builds.pages.log_question import LEVELS
from jobcontrol.utils.frames import FrameInfo

INPUTS_READ = 2_000  # of both together
INPUTS_SHOWN = 100
MESSAGE_SHOWN = 500  # characters


def comparison_page(left: Build, right: Build) -> dict[str, Any]:
    """Return both builds, which were loaded `with_texts`, and the sections of their comparison."""
    now = timezone.now()
    first, second = sides = Side(left, now), Side(right, now)
    sections = [
        error_section(first, second),
        *configuration_sections(first, second),
        inputs_section(first, second),
        retval_section(first, second),
        times_section(first, second),
        log_section(first, second),
    ]
    return {
        "sides": sides,
        "left": left,
        "right": right,
        "sections": sections,
        "differing": [section for section in sections if not section.same],
        "equal": [section for section in sections if section.same],
        "unfinished": [side.build for side in sides if not side.build.finished],
        "now": now,
    }


def with_texts(builds: BuildQuerySet, left: int) -> BuildQuerySet:
    """Load with builds the beginnings of their texts, and whether all is as in the one `left`.

    The texts may be long: the database compares them, and sends no more than is shown.
    """
    first = BuildPayload.objects.filter(pk=left)
    same = {
        f"same_{name}": Case(
            When(**{f"payload__{name}": Subquery(first.values(name))}, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
        for name in ("config_text", "retval_text")
    }
    return builds.annotate(
        config_head=Left("payload__config_text", SHOWN_CHARS),
        config_size=Length("payload__config_text"),
        retval_head=Left("payload__retval_text", RETVAL_SHOWN),
        retval_size=Length("payload__retval_text"),
        traceback=F("payload__traceback"),
        **same,
    ).defer(*(f"job__{name}" for name in ("config", "config_text", "docs", "notes")))


# --- Inputs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputRow:
    """Which build of a job either build used."""

    label: str
    inputs: tuple[BuildDependency | None, BuildDependency | None]

    @property
    def same(self) -> bool:
        """Whether both used the same build."""
        left, right = self.inputs
        return bool(left and right and left.dep_build_number == right.dep_build_number)

    @property
    def can_be_compared(self) -> bool:
        """Whether there are two builds of it to compare."""
        return not self.same and all(one is not None and one.dep_build for one in self.inputs)


def inputs_section(left: Side, right: Side) -> Section:
    """Compare which builds the two used, by job; those that differ come first."""
    rows, is_cut = _input_rows(left.build, right.build)
    differing = [row for row in rows if not row.same]
    shown = [*differing, *(row for row in rows if row.same)][:INPUTS_SHOWN]
    content = {"rows": shown, "hidden": len(rows) - len(shown), "is_cut": is_cut}
    if not rows:
        word = "none in both"
    elif differing:
        word = f"{len(differing):,} of {len(rows):,} differ"
    else:
        word = "the same"
    return Section("inputs", "Inputs", not differing and not is_cut, word, "inputs", content)


def _input_rows(left: Build, right: Build) -> tuple[list[InputRow], bool]:
    links = BuildDependency.objects.filter(build__in=[left, right]).order_by("pk")
    needed = links.select_related("job", "dep_build").only(
        *("build_id", "job__id", "job__title", "dep_build_number", "dep_build__status"),
    )
    found = list(needed[: INPUTS_READ + 1])
    by_job: dict[str, dict[int, BuildDependency]] = {}
    for link in found[:INPUTS_READ]:
        by_job.setdefault(link.job_id, {})[link.build_id] = link
    rows = [
        InputRow(
            next(iter(of_both.values())).job.label,
            (of_both.get(left.pk), of_both.get(right.pk)),
        )
        for of_both in by_job.values()
    ]
    return rows, len(found) > INPUTS_READ


# --- Error ----------------------------------------------------------------------------------------


def error_section(left: Side, right: Side) -> Section:
    """Compare why the two failed, or were skipped."""
    failures = failure_of(left), failure_of(right)
    names = ("Kind", "Type", "Message", "Where", "Code")
    rows = [
        Row(name, (one, other), is_code=name in ("Type", "Where", "Code"))
        for name, one, other in zip(names, *failures, strict=True)
        if one or other
    ]
    having = [side.name for side, found in zip((left, right), failures, strict=True) if any(found)]
    same = failures[0] == failures[1]
    if not having:
        word = "none in both"
    elif len(having) == 1:
        word = f"only in {having[0]}"
    else:
        word = "the same" if same else "not the same"
    return Section("error", "Error", same, word, "error", {"rows": rows})


def failure_of(side: Side) -> tuple[str, str, str, str, str]:
    """Return how a build failed, its error's type, first line, place, and the code there."""
    build = side.build
    if not build.finished or build.status == Build.Status.SUCCESSFUL:
        return ("", "", "", "", "")
    frames = (side.shown("traceback") or {}).get("frames") or []
    frame = next((one for one in reversed(frames) if one.get("filename")), None)
    place = code = ""
    if frame:
        last = FrameInfo.from_json(frame)
        place, code = f"{last.name} in {last.filename}, line {last.lineno}", last.line.strip()
    how = build.get_failure_kind_display() if build.failure_kind else build.status.lower()
    return how, build.exception_type, _first_line(build.exception_message), place, code


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return f"{first[:MESSAGE_SHOWN]}…" if rest or len(first) > MESSAGE_SHOWN else first


# --- Durations and log ----------------------------------------------------------------------------


def times_section(left: Side, right: Side) -> Section:
    """Compare how long the two waited and took, and how far their progress came."""
    waited, took = (left.waited, right.waited), (left.took, right.took)
    found = times_part((left.build, right.build), waited, took)
    return Section("times", "Durations", found["same"], found["word"], "times", found)


def log_section(left: Side, right: Side) -> Section:
    """Compare how much was logged of each level, and what only one of the two said."""
    found = log_summaries(left.build, right.build)
    counts = found["counts"]
    rows = [Row(level, (counts[0].text(level), counts[1].text(level))) for level in LEVELS]
    only = [
        f"{len(some) + more:,} {'message' if len(some) + more == 1 else 'messages'} only in {name}"
        for some, more, name in zip(
            found["only"], found["unlisted"], (left.name, right.name), strict=True
        )
        if some
    ]
    same = not only and all(row.same for row in rows) and not found["is_cut"]
    word = "; ".join(only) or ("as much of each level" if same else "counts differ")
    lists = list(zip((left, right), found["only"], found["unlisted"], strict=True))
    return Section("log", "Log", same, word, "log", {**found, "rows": rows, "lists": lists})


def numbers_of(values: Iterable[str]) -> list[int | None]:
    """Return the builds' numbers that somebody wrote, None for what is none."""
    found = (value.strip().removeprefix("#") for value in values)
    return [
        int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
        for text in found
    ]
