"""Style sheets do not reach into each other: a page has several of them at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import builds

SHEETS = sorted((Path(builds.__file__).parent / "static" / "builds").glob("*.css"))
SHARED: frozenset[str] = frozenset()  # classes that two sheets may style on purpose


def styled_twice(sheets: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the classes that stand alone as a selector in several sheets, with their names."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, text in sheets:
        rules = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for selectors in re.findall(r"([^{};]+)\{", rules):
            for selector in selectors.split(","):
                bare = re.fullmatch(r"\.([-\w]+)", selector.strip())
                if bare:
                    found[bare[1]].add(name)
    return {one: sorted(names) for one, names in found.items() if len(names) > 1}


def test_no_class_is_styled_in_two_sheets() -> None:
    assert len(SHEETS) > 5
    found = styled_twice((path.name, path.read_text(encoding="utf-8")) for path in SHEETS)
    assert {one: names for one, names in found.items() if one not in SHARED} == {}


def test_a_class_that_two_sheets_style_is_found() -> None:
    one = (
        "/* .jc-note {} */ .jc-bar, .jc-a .jc-b { color: red; } @media print { .jc-c { top: 0; } }"
    )
    other = ".jc-bar { fill: red; } .jc-a { top: 0; } .jc-c:hover { top: 0; }"
    assert styled_twice([("one", one), ("other", other)]) == {"jc-bar": ["one", "other"]}
