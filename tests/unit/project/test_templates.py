"""Templates stay so that a person can read and change them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
LONGEST = 150  # characters; 120 are aimed at


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_of_a_template_is_too_long_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = enumerate(text.splitlines(), start=1)
    assert [number for number, line in lines if len(line) > LONGEST] == []
    assert text.endswith("\n")
    assert "\t" not in text


def test_templates_are_found() -> None:
    assert len(TEMPLATES) > 50
