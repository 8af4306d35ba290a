"""The configuration that a build ran with, and what its job says today."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff

from builds.models import BuildPayload
from jobs.models import Job

SHOWN_CHARS = 50_000
COMPARED_LINES = 2_000  # comparing takes time by the square of this, at worst
COMPARED_CHARS = 200_000


@dataclass(frozen=True)
class DiffLine:
    """A line of a comparison: its kind (add, del, hunk or same) and its text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """What is different today: `equal`, or the lines, or why they were not compared."""

    equal: bool = False
    lines: tuple[DiffLine, ...] = ()
    problem: str = ""


def compare(payload: BuildPayload, job: Job) -> Comparison:
    """Compare a build's own configuration with what the job says today."""
    if payload.config == job.config or payload.config_text == job.config_text:
        return Comparison(equal=True)
    before, after = payload.config_text.splitlines(), job.config_text.splitlines()
    chars = max(len(payload.config_text), len(job.config_text))
    if max(len(before), len(after)) > COMPARED_LINES or chars > COMPARED_CHARS:
        return Comparison(problem="It differs from today's; the two are too long to compare here.")
    found = unified_diff(before, after, "this build", "today", lineterm="", n=3)
    return Comparison(lines=tuple(_line(text) for text in list(found)[2:]))


def _line(text: str) -> DiffLine:
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    return DiffLine(kinds.get(text[:1], "same"), text)
