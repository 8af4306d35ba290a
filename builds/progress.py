"""Progress reports: coalesced in memory, written a few times a second, read back as a tree."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import index
from time import monotonic
from typing import Any

from builds.models import Build, BuildProgress
from jobcontrol.utils import ProgressReport
from jobcontrol.utils.text import clean_text
from jobs.redaction import Redactor

MAX_NODES = 10_000  # paths per build; later ones are dropped, with a marker in the log
MAX_NAME_CHARS = 500
MAX_PATH_DEPTH = 50
MAX_STATUS_CHARS = 2_000
MAX_HELD_CHARS = 100_000  # of a status line, before redaction
# For how long, and how often, a bar that is reported without a pause does not look at the clock.
UNTIMED_SECONDS = 0.01
MAX_UNTIMED = 1_000
_BIGGEST = 2**63 - 1


Path = tuple[str, ...]
Values = tuple[int, int, str]
_NONE: Values = (0, 0, "")  # no report, by its identity


@dataclass(frozen=True, slots=True)
class Pace:
    """How one path came from its first report to its last: what a rate can be told from."""

    first_current: int
    seconds: float  # between the two, by the clock of the process that runs the job
    reports: int


@dataclass(frozen=True, slots=True)
class Node:
    """The last report for one path; `position` is its order of first appearance."""

    path: Path
    current: int
    total: int
    status_line: str
    position: int
    pace: Pace | None = field(default=None, compare=False)


class Bar:
    """The reports for one path.

    Whoever reports many times in a moment does so without a lock, and mostly without a look at the
    clock: see `jobcontrol.globals.KnownBar`, whose attributes come first.
    """

    __slots__ = (
        *("look_at", "newest", "reports"),
        *("began", "first_current", "last", "position", "stride", "taken"),
    )

    def __init__(self, position: int) -> None:
        self.position = position
        self.newest = self.taken = _NONE
        self.reports = self.look_at = self.first_current = self.stride = 0
        self.began = self.last = 0.0

    def note(self, values: Values) -> None:
        """Take a report and look at the clock; a bar that falls by more than half begins anew."""
        now = monotonic()
        if not self.reports or 2 * values[0] < self.newest[0]:
            self.began, self.first_current, self.reports = now, values[0], 0
        # Without a look for as many reports as take about `UNTIMED_SECONDS` at its pace.
        is_fast = self.reports and now - self.last < UNTIMED_SECONDS / 2
        self.stride = min(2 * self.stride + 1, MAX_UNTIMED) if is_fast else 0
        self.last = now
        self.reports += 1
        self.look_at = self.reports + self.stride
        self.newest = values

    def take(self, path: Path) -> Node:
        """Return the newest report; the next one is to look at the clock."""
        self.stride, self.look_at = 0, 0
        self.taken = self.newest
        current, total, status_line = self.taken
        pace = Pace(self.first_current, self.last - self.began, self.reports)
        line = _line(status_line)  # what came in a burst is as it was given
        return Node(path, _bounded(current), _bounded(total), line, self.position, pace)


class ProgressBuffer:
    """The newest report of each path of one build, and which are not written yet."""

    def __init__(self) -> None:
        self._bars: dict[Path, Bar] = {}
        # Of those that were reported, by the path as it was given; None is that of the whole.
        self.known: dict[object, Bar] = {}
        self._lock = threading.Lock()
        self.dropped = 0
        # Called once, when the first path is dropped.
        self.full: Callable[[], None] | None = None

    def report(
        self,
        group_name: Sequence[object] | None,
        current: int,
        total: int,
        status_line: str | None = "",
    ) -> None:
        """Note a report; see `jobcontrol.core.JobControl.report_progress` for the arguments.

        Raises TypeError for a str path and for numbers that are no integers.
        """
        path: Path = () if group_name is None else _path(group_name)
        bar = self._bars.get(path) or self._make_room(path)
        if bar is None:
            return
        values = (_whole(current, "current"), _whole(total, "total"), _line(status_line))
        with self._lock:
            bar.note(values)
        # Only what is the path itself: names that were made into text, or cut, are that each time.
        if group_name is None or group_name is path:
            self.known[group_name] = bar

    def close(self) -> None:
        """Let no report come in past `report` any more."""
        self.known.clear()

    def take(self) -> list[Node]:
        """Remove and return the newest unwritten report of each path."""
        with self._lock:
            return [
                bar.take(path) for path, bar in self._bars.items() if bar.newest is not bar.taken
            ]

    def give_back(self, nodes: list[Node]) -> None:
        """Put reports back after a write that failed, unless newer ones came."""
        with self._lock:
            for node in nodes:
                self._bars[node.path].taken = _NONE

    def _make_room(self, path: Path) -> Bar | None:
        with self._lock:
            if path in self._bars:
                return self._bars[path]
            if len(self._bars) >= MAX_NODES:
                is_first, self.dropped = not self.dropped, self.dropped + 1
                if is_first and self.full:
                    self.full()
                return None
            self._bars[path] = made = Bar(len(self._bars))
            return made


def row_values(node: Node, redactor: Redactor) -> dict[str, Any]:
    """Return the columns of a node, redacted and cleaned."""
    names = [clean_text(redactor.redact(name), MAX_NAME_CHARS) for name in node.path]
    group_name = path_text(names)
    pace = node.pace
    return {
        "group_name": group_name,
        "group_digest": path_digest(group_name),
        "current": node.current,
        "total": node.total,
        "status_line": clean_text(redactor.redact(node.status_line), MAX_STATUS_CHARS),
        "position": node.position,
        "first_current": pace.first_current if pace else None,
        "seconds": pace.seconds if pace else None,
        "reports": pace.reports if pace else None,
    }


def path_text(names: Sequence[str]) -> str:
    """Return a path as the column `group_name` has it."""
    return json.dumps(list(names), ensure_ascii=False)


def read_paths(group_names: Iterable[str]) -> list[Path]:
    """Return the paths that values of that column stand for: of a whole tree at once."""
    return [tuple(names) for names in json.loads(f"[{','.join(group_names)}]")]


def path_digest(group_name: str) -> str:
    """Return what a path is found by."""
    return hashlib.sha256(group_name.encode()).hexdigest()


ROOT_DIGEST = path_digest("[]")  # of the total of all


def progress_tree(build: Build) -> ProgressReport:
    """Return the build's progress as a tree whose root is the whole."""
    rows = BuildProgress.objects.filter(build=build).order_by("position")
    table = [
        (tuple(json.loads(row.group_name)), row.current, row.total, row.status_line) for row in rows
    ]
    return ProgressReport.from_table(table)


def _path(group_name: Sequence[object]) -> Path:
    if isinstance(group_name, tuple) and all(type(part) is str for part in group_name):
        path: Path = group_name
    elif isinstance(group_name, tuple | list):
        path = tuple(str(part) for part in group_name)
    else:
        raise TypeError(
            "group_name must be None or a tuple of names such as ('Download',), "
            f"not {type(group_name).__name__}"
        )
    return path if len(path) <= MAX_PATH_DEPTH else path[:MAX_PATH_DEPTH]


def _whole(value: int, name: str) -> int:
    try:
        return _bounded(int(index(value)))
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None


def _bounded(number: int) -> int:
    return min(max(number, -_BIGGEST), _BIGGEST)


def _line(status_line: str | None) -> str:
    if status_line is None:
        return ""
    if isinstance(status_line, str):
        return status_line[:MAX_HELD_CHARS]
    return str(status_line)
