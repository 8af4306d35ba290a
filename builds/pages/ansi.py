"""Colours that programs write for terminals, as HTML with classes.

Only SGR sequences (`ESC [ … m`) mean something here; other sequences, and characters that control
a terminal, are left out. Colours beyond the sixteen become the nearest of these, which the style
sheet knows in its light and its dark form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# In this order: an introduced sequence, a string up to its end (titles, links), any other one, one
# that the end of the text cut off; then what else a terminal would obey. Tab and the ends of lines
# stay.
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)(?P<sgr>[0-9;:]{0,256})m"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
# The sixteen, as xterm shows them: only to find the nearest.
_PALETTE = (
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
)
_CUBE = (0, 95, 135, 175, 215, 255)  # the steps of the 216 colours


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece of text looks; colours are numbers of the sixteen."""

    foreground: int | None = None
    background: int | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False

    @property
    def classes(self) -> str:
        """The classes of its element; nothing for plain text."""
        front, back = self.foreground, self.background
        found = []
        if self.inverse:
            front, back = back, front
            found.append("jc-a-inverse")
        if front is not None:
            found.append(f"jc-a-{front}")
        if back is not None:
            found.append(f"jc-a-on-{back}")
        for name in ("bold", "dim", "italic", "underline", "strike"):
            if getattr(self, name):
                found.append(f"jc-a-{name}")
        return " ".join(found)


_PLAIN = Style()
_ON: dict[int, dict[str, bool]] = {
    1: {"bold": True},
    2: {"dim": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"inverse": True},
    9: {"strike": True},
    21: {"underline": True},
    22: {"bold": False, "dim": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"inverse": False},
    29: {"strike": False},
}


def to_html(text: str, find: str = "") -> SafeString:
    """Return `text` as escaped HTML in its colours; where `find` stands in it is marked."""
    if "\x1b" not in text and "\x9b" not in text and not find and not _CONTROL.search(text):
        return escape(text)
    pieces = list(_pieces(text))
    marks = _marks("".join(piece for piece, _ in pieces), find)
    return mark_safe("".join(_html(pieces, marks)))  # noqa: S308 - each piece is escaped


def plain(text: str) -> str:
    """Return `text` without all that is meant for terminals."""
    return _CONTROL.sub("", text)


def _pieces(text: str) -> Iterator[tuple[str, Style]]:
    style, begin = _PLAIN, 0
    for found in _CONTROL.finditer(text):
        if found.start() > begin:
            yield text[begin : found.start()], style
        begin = found.end()
        if found["sgr"] is not None:
            style = _changed(style, found["sgr"])
    if begin < len(text):
        yield text[begin:], style


def _changed(style: Style, parameters: str) -> Style:
    """Return the style after a sequence with these parameters."""
    # `38:5:9` is one parameter with parts; most programs write `38;5;9`, which is three.
    parts = [_number(part) for part in re.split("[;:]", parameters)]
    place = 0
    while place < len(parts):
        code = parts[place]
        place += 1
        if code == 0:
            style = _PLAIN
        elif code == 4 and _is_off(parameters):
            style = replace(style, underline=False)
            place += 1
        elif code in _ON:
            style = replace(style, **_ON[code])
        elif code in (38, 48):
            colour, place = _extended(parts, place, has_space=f"{code}:2::" in parameters)
            name = "foreground" if code == 38 else "background"
            if colour is not None:
                style = _coloured(style, name, colour)
        elif code in (39, 49):
            style = _coloured(style, "foreground" if code == 39 else "background", None)
        else:
            style = _simple_colour(style, code)
    return style


def _is_off(parameters: str) -> bool:
    return parameters == "4:0"


def _coloured(style: Style, name: str, colour: int | None) -> Style:
    if name == "foreground":
        return replace(style, foreground=colour)
    return replace(style, background=colour)


def _simple_colour(style: Style, code: int) -> Style:
    for first, name, colour in (
        (30, "foreground", 0),
        (40, "background", 0),
        (90, "foreground", 8),
        (100, "background", 8),
    ):
        if first <= code < first + 8:
            return _coloured(style, name, colour + code - first)
    return style


def _extended(parts: list[int], place: int, *, has_space: bool) -> tuple[int | None, int]:
    """Read what follows 38 or 48; return the colour, if there is one, and the place after it."""
    kind = parts[place] if place < len(parts) else -1
    if kind == 5:
        number = parts[place + 1] if place + 1 < len(parts) else 256
        return (of_256(number) if number < 256 else None), place + 2
    if kind == 2:
        first = place + (2 if has_space else 1)
        red_green_blue = parts[first : first + 3]
        is_whole = len(red_green_blue) == 3 and max(red_green_blue) < 256
        colour = nearest(*red_green_blue) if is_whole else None
        return colour, first + 3
    return None, place + 1


def _number(text: str) -> int:
    return int(text) if text and len(text) < 6 else (0 if not text else 99_999)


@lru_cache(maxsize=256)
def of_256(number: int) -> int:
    """Return which of the sixteen is nearest to a colour of the 256."""
    if number < 16:
        return number
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return nearest(grey, grey, grey)
    number -= 16
    return nearest(_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6])


@lru_cache(maxsize=4_096)
def nearest(red: int, green: int, blue: int) -> int:
    """Return which of the sixteen is nearest to this colour."""
    wanted = (red, green, blue)
    return min(
        range(16),
        key=lambda n: sum((a - b) ** 2 for a, b in zip(_PALETTE[n], wanted, strict=True)),
    )


def _marks(text: str, find: str) -> list[tuple[int, int]]:
    if not find:
        return []
    return [found.span() for found in re.finditer(re.escape(find), text, re.IGNORECASE)]


def _html(pieces: list[tuple[str, Style]], marks: list[tuple[int, int]]) -> Iterator[str]:
    place, mark = 0, 0
    for piece, style in pieces:
        classes = style.classes
        if classes:
            yield f'<span class="{classes}">'
        begin, end = place, place + len(piece)
        while mark < len(marks) and marks[mark][0] < end:
            first, last = max(marks[mark][0], begin), min(marks[mark][1], end)
            yield escape(piece[begin - place : first - place])
            yield f"<mark>{escape(piece[first - place : last - place])}</mark>"
            begin = last
            if marks[mark][1] > end:
                break  # it goes on in the next piece
            mark += 1
        yield escape(piece[begin - place :])
        if classes:
            yield "</span>"
        place = end
