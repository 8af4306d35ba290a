"""Every line of `original-behaviour.md` that needs no page is named by a test.

A test names a line by `original #12` (or `original #12, #13`) in its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
LINES = range(1, 35)
# Lines of which nothing can be shown before there is the page (or interface) they speak of.
WAITING = {32: "the JSON API comes with the pages: there is no address to ask yet"}
# Lines with a part that waits for a page, though a test names what needs none.
PARTLY_WAITING = {
    5: "the run button",
    18: "tags as links on the job's page",
    24: "the page that says that the broker is down",
    30: "the finished job list with its unfinished builds",
    31: "the run form, the graph and the tabs of a build",
    34: "forms that choose, rebuild, download and run again",
}

_NAMED = re.compile(r"\boriginal((?:[\s,]*(?:and\s+|to\s+)?#\d+)+)")


def test_names_are_found() -> None:
    assert list(numbers_in("original #2, #30 and #4: none")) == [2, 30, 4]
    assert list(numbers_in("the original's #2, issue #3")) == []


def test_every_line_that_needs_no_page_has_a_test() -> None:
    named = {number for text in docstrings() for number in numbers_in(text)}
    assert sorted(set(LINES) - named - set(WAITING)) == []
    assert named <= set(LINES)


def test_what_waits_is_still_waiting() -> None:
    """A line that has got its test leaves the list."""
    named = {number for text in docstrings() for number in numbers_in(text)}
    assert not named & set(WAITING)
    assert set(PARTLY_WAITING) <= named


def numbers_in(text: str) -> Iterator[int]:
    for found in _NAMED.finditer(text):
        yield from map(int, re.findall(r"#(\d+)", found[1]))


def docstrings() -> Iterator[str]:
    """Yield the docstring of every test function."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield ast.get_docstring(node) or ""
