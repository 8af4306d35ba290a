"""Trees of progress bars."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from jobcontrol.utils.text import JSON

Path: TypeAlias = Sequence[str] | None
Row: TypeAlias = tuple[Path, int | None, int | None, str | None]

SEPARATOR = "::"
"""Between the names of a path that is written as one text, as old tables have it."""

MAX_JSON_DEPTH = 100
"""Levels that `to_json` writes; encoders and pages recurse."""


class ProgressReport:
    """One bar of a tree of progress bars, and the bars below it.

    `current` and `total` count steps. Where they were not reported (None) they are the sums of
    those of the children; what was reported wins. No method recurses: trees may be very deep.
    """

    __slots__ = ("_current", "_total", "children", "name", "status_line")

    def __init__(
        self,
        name: str | None,
        current: int | None = None,
        total: int | None = None,
        status_line: str | None = None,
        children: Iterable[ProgressReport] | None = None,
    ) -> None:
        self.name = name
        self._current = current
        self._total = total
        self.status_line = status_line
        self.children = list(children or ())
        if self.children and not all(isinstance(child, ProgressReport) for child in self.children):
            raise TypeError("the children of a ProgressReport must be ProgressReports")

    def __repr__(self) -> str:
        return f"<ProgressReport {self.name!r} {self.current}/{self.total}>"

    @property
    def current(self) -> int:
        """Steps done, as reported or summed."""
        return self._sum("_current")

    @property
    def total(self) -> int:
        """Steps to do, as reported or summed."""
        return self._sum("_total")

    @property
    def percent(self) -> float:
        """The part that is done, 1.0 being all of it, as reported: it may lie outside 0 to 1."""
        return _fraction(self.current, self.total)

    @property
    def percent_human(self) -> str:
        """The part that is done, as '32%' (rounded down: 100% means done), or 'N/A'."""
        current, total = self.current, self.total
        return "N/A" if total <= 0 else f"{current * 100 // total}%"

    @property
    def progress_label(self) -> str:
        """Steps and name, as '[20/100] Download'; the root is called 'Total'."""
        name = "Total" if self.name is None else self.name
        return f"[{self.current}/{self.total}] {name}"

    @property
    def color_css_rgb(self) -> str:
        """A colour such as '#CC2828': from red (nothing done) over yellow to green (done)."""
        done = min(max(self.percent, 0.0), 1.0)
        channels = colorsys.hsv_to_rgb(done / 3, 0.8, 0.8)
        return "#" + "".join(f"{int(channel * 255):02X}" for channel in channels)

    @classmethod
    def from_table(cls, table: Iterable[Row], base_name: str | None = None) -> ProgressReport:
        """Make the tree of rows `(path, current, total, status_line)`.

        None and empty paths are the root (named `base_name`); a text is split at '::'. Bars keep
        the order in which their paths first appear; of several rows for one path the last counts.
        Raises TypeError for a path that is none of this.
        """
        root = cls(base_name)
        below: dict[int, dict[str, ProgressReport]] = {}
        for path, current, total, status_line in table:
            node = root
            for name in _names(path):
                named = below.setdefault(id(node), {})
                if name not in named:
                    named[name] = cls(name)
                    node.children.append(named[name])
                node = named[name]
            node._current, node._total, node.status_line = current, total, status_line
        return root

    def walk(self) -> Iterator[tuple[int, ProgressReport]]:
        """Yield `(depth, bar)` of the whole tree, each before its children, this one at 0."""
        waiting = [(0, self)]
        while waiting:
            depth, node = waiting.pop()
            yield depth, node
            waiting.extend((depth + 1, child) for child in reversed(node.children))

    def to_json(self, max_depth: int = MAX_JSON_DEPTH) -> dict[str, JSON]:
        """Return `{name, current, total, status_line, children}`, to `max_depth` levels below.

        Deeper bars are left out; they still count in the sums above them.
        """
        result: dict[str, JSON] = {}
        # Parents after their children: sums are ready when they are asked for.
        sums: dict[int, tuple[int, int]] = {}
        written: dict[int, dict[str, JSON]] = {}
        for depth, node in reversed(list(self.walk())):
            current = node._current
            total = node._total
            if current is None:
                current = sum(sums[id(child)][0] for child in node.children)
            if total is None:
                total = sum(sums[id(child)][1] for child in node.children)
            sums[id(node)] = (current, total)
            if depth > max_depth:
                continue
            children = node.children if depth < max_depth else ()
            result = {
                "name": node.name,
                "current": current,
                "total": total,
                "status_line": node.status_line or "",
                "children": [written[id(child)] for child in children],
            }
            written[id(node)] = result
        return result

    def _sum(self, attribute: str) -> int:
        """What was reported, else the sum of the nearest reported values below."""
        result = 0
        waiting = [self]
        while waiting:
            node = waiting.pop()
            value: int | None = getattr(node, attribute)
            if value is None:
                waiting.extend(node.children)
            else:
                result += value
        return result


def _names(path: Path) -> Sequence[str]:
    if path is None:
        return ()
    if isinstance(path, str):
        return path.split(SEPARATOR) if path else ()
    if isinstance(path, tuple | list):
        return [name if isinstance(name, str) else str(name) for name in path]
    raise TypeError(
        f"a progress path must be None, a tuple or a list of names, not {type(path).__name__!r}"
    )


def _fraction(current: int, total: int) -> float:
    if total <= 0:
        return 0.0
    try:
        return current / total
    except OverflowError:
        return float("inf") if current > 0 else float("-inf")
