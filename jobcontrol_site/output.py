"""Text for people: rich tables and progress bars on a terminal, plain text when piped.

Everything that jobs wrote passes through `visible`, so that it can't drive the terminal, and is
printed as it stands: rich's markup is never interpreted in it.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TextIO

from django.utils import timezone
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from jobcontrol.utils import ProgressReport
from jobcontrol_site.directions import ESCAPES

STYLES = {
    "success": "green",
    "SUCCESSFUL": "green",
    "failed": "red",
    "FAILED": "red",
    "CANCELLED": "red",
    "outdated": "yellow",
    "SKIPPED": "yellow",
    "RUNNING": "cyan",
    "ERROR": "red",
    "CRITICAL": "bold red",
    "WARNING": "yellow",
    "DEBUG": "dim",
}
_PLAIN_WIDTH = 100_000  # wide enough that nothing is cut or wrapped where no person looks
MAX_BARS = 30  # bars of a live display; a terminal has not more lines

# Control characters but tab and newline, as the pictures Unicode has for them; those that turn the
# direction of what follows, as escapes.
_PICTURES: dict[int, str | int] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10)},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **ESCAPES,
}


def visible(text: object) -> str:
    """Return `text` with its control characters made visible."""
    return str(text).translate(_PICTURES)


def styled(text: object) -> Text:
    """Return `text` in the colour of the state it names, if it names one."""
    return Text(visible(text), style=STYLES.get(str(text), ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, terminal: bool) -> Table:
    """Return a table: ruled on a terminal, columns apart by two spaces else."""
    made = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        pad_edge=terminal,
        padding=(0, 1) if terminal else (0, 2, 0, 0),
        header_style="bold",
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return names with their values, those without one left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], (), {}):
            made.add_row(
                Text(name), value if isinstance(value, Text | Table) else Text(visible(value))
            )
    return made


def render(*parts: RenderableType, terminal: bool) -> str:
    """Return the parts as text, coloured and as wide as the screen only on a terminal."""
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        no_color=not terminal,
        width=None if terminal else _PLAIN_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str | Text))
    output = console.file
    text = output.getvalue() if isinstance(output, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in text.splitlines())


def moment(value: datetime | None) -> str:
    """Return a time in the site's zone, to the second."""
    return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S") if value else ""


def seconds(value: float | None) -> str:
    """Return a duration for people: `0.4 s`, `2 min 5 s`, `3 h 20 min`."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def whole_seconds(value: float | None) -> str:
    """Return about how long, at least a second: `45 s`, `2 min 5 s`, `3 h 20 min`."""
    if value is None:
        return ""
    whole = max(round(value), 1)
    return f"{whole} s" if whole < 60 else seconds(whole)


def rate(value: float | None) -> str:
    """Return steps in a second as `2.5/s`, `12/min` or `3/h`; nothing for what is next to none."""
    for length, unit in ((1, "s"), (60, "min"), (3_600, "h")):
        number = _rounded((value or 0.0) * length)
        if number >= 1 or (unit == "h" and number > 0):
            return f"{number:g}/{unit}" if number < 10 else f"{number:,.0f}/{unit}"
    return ""


def _rounded(number: float) -> float:
    """Keep one place below ten, none above."""
    return round(number, 1) if number < 10 else float(round(number))


def progress_text(root: ProgressReport) -> str:
    """Return a progress tree as indented lines."""
    return "\n".join(f"{'  ' * depth}{visible(_label(node))}" for depth, node in root.walk())


def _label(node: ProgressReport) -> str:
    line = f"  {node.status_line}" if node.status_line else ""
    return node.progress_label + line


class _AboveBars(io.StringIO):
    """Where log lines go while bars are drawn: above them, in place of through them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(Text(text), end="", soft_wrap=True)
        return len(text)


class LiveProgress:
    """A progress tree drawn again and again on a terminal (on stderr); nothing elsewhere."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[line]}", markup=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
            # The runner captures these two; a display must not stand in between.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stream = stream or sys.stderr
        self._redirected: list[logging.StreamHandler[TextIO]] = []
        self._title = title
        self._tasks: dict[tuple[str, ...], Any] = {}

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._stream:
                self._redirected.append(handler)
                handler.setStream(_AboveBars(self._console))
        return self

    def __exit__(self, *exc_info: object) -> None:
        for handler in self._redirected:
            handler.setStream(self._stream)
        self._bars.stop()

    def show(self, root: ProgressReport) -> None:
        """Draw the tree as it stands now."""
        path: list[str] = []
        for depth, node in islice(root.walk(), MAX_BARS):
            path[depth:] = [str(node.name)]
            self._draw(tuple(path), depth, node)
        self._bars.refresh()

    def _draw(self, path: tuple[str, ...], depth: int, node: ProgressReport) -> None:
        if path not in self._tasks:
            self._tasks[path] = self._bars.add_task("", total=None, line="")
        name = self._title if depth == 0 else "  " * depth + visible(node.name)
        total = node.total if node.total and node.total > 0 else None
        current = max(node.current or 0, 0)
        self._bars.update(
            self._tasks[path],
            description=name,
            total=total,
            completed=min(current, total) if total else 0,
            line=visible(node.status_line or "")[:80].replace("\n", " "),
        )
