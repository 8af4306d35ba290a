"""The documents: what they link to is there, and their pictures are small and used."""

import re
from pathlib import Path

import pytest

from tests.bootstrap import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MAX_BYTES = 200_000


def links(document: Path) -> list[Path]:
    text = document.read_text(encoding="utf-8")
    return [document.parent / found for found in LINK.findall(text) if "://" not in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_is_there(document):
    assert [path for path in links(document) if not path.exists()] == []


def test_each_picture_is_shown_somewhere_and_small():
    shown = {path.resolve() for document in DOCUMENTS for path in links(document)}
    pictures = sorted((ROOT / "docs/images").glob("*"))
    assert len(pictures) > 5
    for picture in pictures:
        assert picture.resolve() in shown, f"no document shows {picture.name}"
        assert picture.stat().st_size <= MAX_BYTES, picture.name
