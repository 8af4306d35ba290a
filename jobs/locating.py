"""From findings to problems: which file, which line, what stands there; and nothing secret."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property

from jobs.problems import EXCERPT_LENGTH, Finding, Problem
from jobs.redaction import MASK, Redactor
from jobs.rendering import Rendered

_SECRET_SECTION = re.compile(r"^[\"']?secrets?[\"']?\s*:")
_SECRET_KEY = re.compile(r"^\s*[\"']?SECRET_KEY[\"']?\s*:")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^\s@]+(@)")


class Locator:
    """Places findings in the sources of a configuration."""

    def __init__(self, path: str, rendered: Rendered | None) -> None:
        self.path = path
        self._excerpts: dict[int, str] = {}
        self.rendered = rendered
        self.expanded = rendered is not None and rendered.expanded != rendered.sources[0].text

    def problem(self, finding: Finding, redactor: Redactor) -> Problem:
        """Return the problem of a finding, with the secrets that are known masked."""
        text = self._line(finding.line)
        source_path, source_line = self._source_of(text) if self.expanded else (None, None)
        return Problem(
            redactor.redact(finding.message),
            finding.rule,
            job=finding.job,
            key=redactor.redact(finding.key) if finding.key is not None else None,
            line=finding.line,
            path=self.path or None,
            expanded=self.expanded and finding.line is not None,
            excerpt=self._excerpt(finding.line, text, redactor),
            source_path=source_path,
            source_line=source_line,
        )

    def _line(self, number: int | None) -> str:
        if number is None or not 1 <= number <= len(self._lines):
            return ""
        return self._lines[number - 1]

    @cached_property
    def _lines(self) -> list[str]:
        return self.rendered.expanded.splitlines() if self.rendered is not None else []

    @cached_property
    def _source_lines(self) -> tuple[Counter[str], dict[str, tuple[str, int]]]:
        counts: Counter[str] = Counter()
        places: dict[str, tuple[str, int]] = {}
        for source in self.rendered.sources if self.rendered is not None else ():
            for number, line in enumerate(source.text.splitlines(), 1):
                counts[line] += 1
                places[line] = (source.path, number)
        return counts, places

    def _source_of(self, text: str) -> tuple[str | None, int | None]:
        """Return where this line stands in the sources, if it stands there exactly once."""
        counts, places = self._source_lines
        return places[text] if text.strip() and counts[text] == 1 else (None, None)

    def _excerpt(self, number: int | None, text: str, redactor: Redactor) -> str:
        if number is None or number in self._secret_lines:
            return ""
        if number not in self._excerpts:  # thousands of findings can stand in one long line
            self._excerpts[number] = self._shorten(text, redactor)
        return self._excerpts[number]

    def _shorten(self, text: str, redactor: Redactor) -> str:
        shown = _URL_PASSWORD.sub(rf"\g<1>{MASK}\g<2>", redactor.redact(text)).strip()
        shown = "".join(
            char if char.isprintable() else "\ufffd" for char in shown[: EXCERPT_LENGTH + 1]
        )
        return shown if len(shown) <= EXCERPT_LENGTH else f"{shown[:EXCERPT_LENGTH]}…"

    @cached_property
    def _secret_lines(self) -> set[int]:
        """The lines that may hold secrets: their values need not be known when YAML is broken."""
        found: set[int] = set()
        inside = False
        for number, line in enumerate(self._lines, 1):
            if line[:1].strip() and not line.startswith("#"):
                inside = _SECRET_SECTION.match(line) is not None
            if inside or _SECRET_KEY.match(line):
                found.add(number)
        return found
