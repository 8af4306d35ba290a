"""Where two texts differ, line by line, in a form that a page can show: without a database.

`runs` is exact: its removed and unchanged lines are the one text, its added and unchanged lines
the other. What is only for the eye (folds, the part of a line that changed) is made from that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

COMPARED_LINES = 2_000  # of each text
OFTEN = 20  # times that a line stands in a text before it is no mark of a place any more
CONTEXT = 3  # unchanged lines that stay beside a change
FOLDED = 5  # fewer unchanged lines are not worth a fold
CHANGES_SHOWN = 500  # lines; nobody reads more, and each one costs time to show
LINE_SHOWN = 2_000  # characters
LONG_LINE = 80  # characters; a value on a longer line is spread over several

SAME, REMOVED, ADDED, FOLD = "same", "del", "add", "fold"


@dataclass(frozen=True)
class Run:
    """Lines one after the other of which the same is to be said."""

    kind: str  # SAME, REMOVED, ADDED; FOLD for unchanged ones that are far from any change
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """A line, with the part in its middle that makes the difference."""

    before: str
    changed: str = ""
    after: str = ""


@dataclass(frozen=True)
class Block:
    """A run as it is shown: unchanged lines as one text, the others with their changed parts."""

    kind: str
    text: str = ""
    count: int = 0
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Two texts compared; `is_cut`: only the beginnings were, which is all that is shown.

    `hidden` changed lines are not shown either, nor what comes after the first of them.
    """

    blocks: tuple[Block, ...] = ()
    removed: int = 0
    added: int = 0
    is_cut: bool = False
    hidden: int = 0

    @property
    def equal(self) -> bool:
        """Whether what was compared is the same."""
        return not (self.removed or self.added)


def difference(left: str, right: str) -> Difference:
    """Compare the beginnings of two texts, so many lines that it takes a bounded time."""
    if left.endswith("\n") and right.endswith("\n"):
        left, right = left[:-1], right[:-1]
    before, after = lines_of(left), lines_of(right)
    is_cut = max(len(before), len(after)) > COMPARED_LINES
    found = runs(before[:COMPARED_LINES], after[:COMPARED_LINES])
    shown = _first_changes(fold(found))
    removed, added = (_count(found, kind) for kind in _CHANGED)
    hidden = removed + added - sum(_count(shown, kind) for kind in _CHANGED)
    return Difference(tuple(_blocks(shown)), removed, added, is_cut, hidden)


def lines_of(text: str) -> list[str]:
    """Return the lines, from which the text can be made again; none of an empty one."""
    return text.split("\n") if text else []


# --- Exact ----------------------------------------------------------------------------------------

_CHANGED = (REMOVED, ADDED)


def runs(before: Sequence[str], after: Sequence[str]) -> list[Run]:
    """Return what became of the lines, in their order; of a change what was removed comes first."""
    start, end = _ends(before, after)
    middles = before[start : len(before) - end], after[start : len(after) - end]
    found = [Run(SAME, tuple(before[:start])), *_middle(*middles)]
    found.append(Run(SAME, tuple(before[len(before) - end :])))
    return [run for run in found if run.lines]


def _ends(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """Return how much is the same at the start of both, and at the end of what is left then."""
    both = enumerate(zip(one, other, strict=False))
    most = min(len(one), len(other))
    start = next((number for number, (left, right) in both if left != right), most)
    rest = range(most - start)
    return start, next((n for n in rest if one[-1 - n] != other[-1 - n]), len(rest))


def _middle(before: Sequence[str], after: Sequence[str]) -> Iterator[Run]:
    # The longer one is what difflib looks lines up in. Those that stand there often are passed
    # over (it does so itself in long texts), which bounds the time that the same few lines take.
    swapped = len(before) > len(after)
    short, long = (after, before) if swapped else (before, after)
    often = {line for line, count in Counter(long).items() if count > OFTEN}
    for kind, *ends in SequenceMatcher(often.__contains__, short, long).get_opcodes():
        of_short, of_long = tuple(short[ends[0] : ends[1]]), tuple(long[ends[2] : ends[3]])
        if kind == "equal":
            yield Run(SAME, of_short)
            continue
        yield Run(REMOVED, of_long if swapped else of_short)
        yield Run(ADDED, of_short if swapped else of_long)


# --- For the eye ----------------------------------------------------------------------------------


def fold(found: Sequence[Run]) -> list[Run]:
    """Fold long unchanged stretches, but for the lines beside a change."""
    shown = []
    for number, run in enumerate(found):
        head = CONTEXT if number > 0 else 0
        tail = CONTEXT if number < len(found) - 1 else 0
        if run.kind != SAME or len(run.lines) - head - tail < FOLDED:
            shown.append(run)
            continue
        end = len(run.lines) - tail
        shown.append(Run(SAME, run.lines[:head]))
        shown.append(Run(FOLD, run.lines[head:end]))
        shown.append(Run(SAME, run.lines[end:]))
    return [run for run in shown if run.lines]


def _first_changes(folded: Sequence[Run]) -> list[Run]:
    """Return the runs up to so many changed lines that a page can show."""
    shown: list[Run] = []
    room = CHANGES_SHOWN
    for number, run in enumerate(folded):
        if run.kind not in _CHANGED:
            shown.append(run)
            continue
        replaces = run.kind == REMOVED and number + 1 < len(folded)
        # Of lines that replace others, both are to be seen.
        most = (room + 1) // 2 if replaces and folded[number + 1].kind == ADDED else room
        shown.append(Run(run.kind, run.lines[:most]))
        room -= len(shown[-1].lines)
        if room <= 0:
            break
    return shown


def _count(some: Sequence[Run], kind: str) -> int:
    return sum(len(run.lines) for run in some if run.kind == kind)


def _blocks(shown: Sequence[Run]) -> Iterator[Block]:
    """Return what is shown of each run; lines that replace others are told from these."""
    added: dict[int, list[Piece]] = {}
    for number, run in enumerate(shown):
        if run.kind not in _CHANGED:
            text = "\n".join(f"  {_clipped(line)}" for line in run.lines)
            yield Block(run.kind, text, len(run.lines))
            continue
        pieces = added.get(number, [])
        follows = shown[number + 1] if number + 1 < len(shown) else run
        if (run.kind, follows.kind) == _CHANGED:
            both = [_told_apart(*lines) for lines in zip(run.lines, follows.lines, strict=False)]
            pieces = [one for one, _ in both]
            added[number + 1] = [other for _, other in both]
        rest = [Piece(_clipped(line)) for line in run.lines[len(pieces) :]]
        yield Block(run.kind, pieces=(*pieces, *rest))


def _told_apart(one: str, other: str) -> tuple[Piece, Piece]:
    """Return both lines with what is different in them; plain where they have little in common."""
    if max(len(one), len(other)) > LINE_SHOWN:
        return Piece(_clipped(one)), Piece(_clipped(other))
    start, end = _ends(one, other)
    if 2 * (start + end) < min(len(one), len(other)):
        return Piece(one), Piece(other)
    first, second = len(one) - end, len(other) - end
    return (
        Piece(one[:start], one[start:first], one[first:]),
        Piece(other[:start], other[start:second], other[second:]),
    )


def _clipped(line: str) -> str:
    hidden = len(line) - LINE_SHOWN
    return f"{line[:LINE_SHOWN]}… [{hidden} more characters]" if hidden > 0 else line


# --- A value as lines -----------------------------------------------------------------------------

# Whatever begins like a string ends like one at the end of the text, if not before: no character is
# looked at twice.
_TOKEN = re.compile(
    r"""(?P<text>(?<![^\W_])[bBrRuUfF]{0,2}"""
    r"""(?:"(?:[^"\\]|\\(?:.|\Z))*(?:"|\Z)|'(?:[^'\\]|\\(?:.|\Z))*(?:'|\Z)))"""
    r"""|(?P<empty>\[\]|\{\}|\(\))|(?P<open>[\[{(])|(?P<close>[\]})])|(?P<comma>,\ *)""",
    re.DOTALL,
)
INDENT_LEVELS = 20  # more would leave no room


def spread(text: str) -> str:
    """Return a value's text (a `repr`, or JSON) with a line for each part, to be compared.

    Only line breaks and indentation come in; a text that has lines already stays as it is. It need
    be no valid value: it may be cut off anywhere.
    """
    if "\n" in text or len(text) <= LONG_LINE:
        return text
    made = _Lines()
    end = 0
    for token in _TOKEN.finditer(text):
        made.write(text[end : token.start()])
        made.take(token.lastgroup or "", token[0])
        end = token.end()
    made.write(text[end:])
    return "\n".join(made.lines)


@dataclass
class _Lines:
    """Lines that are being written, each indented by how deep its part is."""

    lines: list[str] = field(default_factory=lambda: [""])
    depth: int = 0

    def write(self, text: str) -> None:
        self.lines[-1] += text

    def take(self, kind: str, text: str) -> None:
        if kind == "close":
            self.depth = max(self.depth - 1, 0)
            self._break()
            self.write(text)
        elif kind == "open":
            self.write(text)
            self.depth += 1
            self._break()
        elif kind == "comma":
            self.write(text)
            self._break()
        else:
            self.write(text)

    def _break(self) -> None:
        self.lines.append("  " * min(self.depth, INDENT_LEVELS))


# --- Messages -------------------------------------------------------------------------------------

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_CHANGING = re.compile(
    rf"\b{_WEEKDAY},?(?=\ (?:\d|{_MONTH}\b))"
    rf"|\b{_MONTH}(?=[ /-]\d)|(?<=\d[ /-]){_MONTH}\b"
    r"|\b0[xX][0-9a-fA-F]+\b"
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"
    r"|\d+(?:[.,:]\d+)*"
)


def normalised(message: str) -> str:
    """Return a message without what differs from run to run: numbers, times, ids, white space."""
    return " ".join(_CHANGING.sub("#", message).split())
