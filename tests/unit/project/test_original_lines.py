"""Every line of what is kept of the original, or mended, is named by a test.

A test names a line by `original #12` (or `original #12, #13`) in its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
LINES = range(1, 35)

_NAMED = re.compile(r"\boriginal((?:[\s,]*(?:and\s+|to\s+)?#\d+)+)")


def test_names_are_found() -> None:
    assert list(numbers_in("original #2, #30 and #4: none")) == [2, 30, 4]
    assert list(numbers_in("the original's #2, issue #3")) == []


def test_every_line_has_a_test() -> None:
    named = {number for text in docstrings() for number in numbers_in(text)}
    assert sorted(set(LINES) - named) == []
    assert named <= set(LINES)


def numbers_in(text: str) -> Iterator[int]:
    for found in _NAMED.finditer(text):
        yield from map(int, re.findall(r"#(\d+)", found[1]))


def docstrings() -> Iterator[str]:
    """Yield the docstring of every test function."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield ast.get_docstring(node) or ""
