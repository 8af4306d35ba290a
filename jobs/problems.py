"""What can be wrong with a configuration, in words for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jobcontrol.exceptions import JobControlException

EXCERPT_LENGTH = 120


class Finding(NamedTuple):
    """A mistake as the parser or a check saw it: not yet placed in a file."""

    rule: str
    message: str
    line: int | None = None
    key: str | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake of a configuration.

    `rule` is the short name of the rule that was broken. `line` counts from 1: a line of the file
    `path`, or, when `expanded`, of the text that Jinja made of it; then `source_path` and
    `source_line` name the line of a source that holds the same text, if there is exactly one.
    """

    message: str
    rule: str
    job: str | None = None
    key: str | None = None
    line: int | None = None
    path: str | None = None
    expanded: bool = False
    excerpt: str = ""
    source_path: str | None = None
    source_line: int | None = None

    def __str__(self) -> str:
        places = [self.path] if self.path else []
        if self.line is not None:
            places.append(f"line {self.line}{self._of_the_expanded_text()}")
        if self.job is not None:
            places.append(f"job {self.job!r}")
        if self.key is not None:
            places.append(f"key {self.key!r}")
        where = f"{', '.join(places)}: " if places else ""
        excerpt = f"  | {self.excerpt}" if self.excerpt else ""
        return f"{where}{self.message}  [{self.rule}]{excerpt}"

    def _of_the_expanded_text(self) -> str:
        is_same = (self.source_path, self.source_line) == (self.path, self.line)
        if not self.expanded or is_same:
            return ""
        if self.source_line is None:
            return " of the expanded text"
        return f" of the expanded text (line {self.source_line} of {self.source_path})"


class ConfigError(JobControlException):
    """A configuration that can't be used; `problems` holds everything that is wrong with it.

    `paths` are the files that were read or looked for: a change of one may mend it.
    """

    def __init__(self, problems: Iterable[Problem], paths: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        self.paths = tuple(paths)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def describe(value: object) -> str:
    """Name the kind of `value` as a writer of YAML would."""
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return f"a {type(value).__name__}"


_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((type(None),), "empty"),
    ((bool,), "true or false (put quotes around text such as 'yes')"),
    ((int, float), "a number"),
    ((str,), "a string"),
    ((list, tuple), "a list"),
    ((dict,), "a mapping"),
)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint such as "; did you mean 'title'?", or "" when nothing is near."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def quoted(name: object, limit: int = 60) -> str:
    """Return the repr of `name`, cut to a length that fits a message."""
    text = repr(name)
    return text if len(text) <= limit else f"{text[:limit]}…"
