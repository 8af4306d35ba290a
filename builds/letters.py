"""How wide texts are, where a picture is drawn by a program that knows no fonts.

Widths are those of DejaVu Sans, rounded up: of the fonts that a page may be shown in, it is the
widest, so that what fits by this table fits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

# In ems, the size of the letters: the width of each character.
_BOLD: Mapping[float, str] = {
    0.35: " 'ijl",
    0.4: ",./:;IJ\\|·",
    0.45: "-f",
    0.5: "!()[]_`rt–",
    0.55: '"*▾▸',
    0.6: "?csz",
    0.65: "Lx",
    0.7: "$0123456789EFTaekovy",
    0.75: "CPSYZbdghnpqu{}",
    0.8: "ABKRVX▶",
    0.85: "#+<=>DGHNU^~✓✕↻⊘↷",
    0.9: "&OQ○",
    0.95: "w",
    1.0: "@M…—",
    1.05: "%m",
    1.15: "W",
}
_PLAIN: Mapping[float, str] = {
    0.3: "'IJijl",
    0.35: " ,./:;\\|·",
    0.4: "()-[]ft",
    0.45: "!r",
    0.5: '"*_`–',
    0.55: "?csz▾▸",
    0.6: "FLkvxy",
    0.65: "$0123456789EPSTYabdeghnopqu{}",
    0.7: "ABCKRVXZ",
    0.75: "NU",
    0.8: "&DGHOQ▶",
    0.85: "#+<=>^w~✓✕↻⊘↷",
    0.9: "M○",
    1.0: "%@Wm…—",
}
_WIDTHS = {
    is_bold: {char: width for width, chars in table.items() for char in chars}
    for is_bold, table in ((True, _BOLD), (False, _PLAIN))
}
_JOINED = ("Mn", "Me", "Cf")  # drawn with the character before
_EMOJI = 1.35
_SQUARE = 1.05  # Chinese, Japanese, Korean
_CAPITAL, _SMALL, _OTHER = 1.1, 0.9, 1.0  # of other scripts


def width(text: str, *, bold: bool = False) -> float:
    """Return how wide `text` is at the most, in ems."""
    return sum(_width(char, bold) for char in text)


def _width(char: str, is_bold: bool) -> float:
    known = _WIDTHS[is_bold]
    if char not in known:
        char = unicodedata.normalize("NFD", char)[0]  # é is as wide as e
    if char in known:
        return known[char]
    kind = unicodedata.category(char)
    if kind in _JOINED:
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return _EMOJI if kind == "So" else _SQUARE
    return {"Lu": _CAPITAL, "Ll": _SMALL}.get(kind, _OTHER)


def fitting(text: str, room: float, *, bold: bool = False) -> str:
    """Return as much of `text` as is not wider than `room`, in ems; what is cut ends in `…`."""
    if width(text, bold=bold) <= room:
        return text
    return f"{text[: _fits(text, room - _width('…', bold), bold)]}…"


def wrapped(text: str, room: float, lines: int, *, bold: bool = False) -> list[str]:
    """Return `text` in at most so many lines of that width; what is too long for that is cut."""
    found: list[str] = []
    rest = text
    while rest and len(found) < lines - 1:
        if width(rest, bold=bold) <= room:
            break
        line = rest[: max(_fits(rest, room, bold), 1)]
        before, space, _ = line.rpartition(" ")
        if space and len(before) >= len(line) // 2 and rest[len(line)] != " ":
            line = before
        found.append(line.strip())
        rest = rest[len(line) :].strip()
    return [*found, fitting(rest, room, bold=bold)] if rest else found


def _fits(text: str, room: float, is_bold: bool) -> int:
    """Return how many of the first characters fit."""
    used = 0.0
    for number, char in enumerate(text):
        used += _width(char, is_bold)
        if used > room:
            return number
    return len(text)
