"""Progress reports: coalesced in memory, written a few times a second, read back as a tree."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from builds.models import Build, BuildProgress
from jobcontrol.utils import ProgressReport
from jobcontrol.utils.text import clean_text
from jobs.redaction import Redactor

MAX_NODES = 10_000  # paths per build; later ones are dropped, with a marker in the log
MAX_NAME_CHARS = 500
MAX_PATH_DEPTH = 50
MAX_STATUS_CHARS = 2_000
_BIGGEST = 2**63 - 1


def _digest(group_name: str) -> str:
    return hashlib.sha256(group_name.encode()).hexdigest()


ROOT_DIGEST = _digest("[]")  # of the total of all

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """The last report for one path; `position` is its order of first appearance."""

    path: Path
    current: int
    total: int
    status_line: str
    position: int


class ProgressBuffer:
    """The newest report of each path of one build, and which are not written yet."""

    def __init__(self) -> None:
        self._positions: dict[Path, int] = {}
        self._changed: dict[Path, tuple[int, int, str]] = {}
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
        if path not in self._positions and not self._make_room(path):
            return
        values = (_whole(current, "current"), _whole(total, "total"), _line(status_line))
        with self._lock:
            self._changed[path] = values

    def take(self) -> list[Node]:
        """Remove and return the newest unwritten report of each path."""
        with self._lock:
            changed, self._changed = self._changed, {}
        return [Node(path, *values, self._positions[path]) for path, values in changed.items()]

    def give_back(self, nodes: list[Node]) -> None:
        """Put reports back after a write that failed, unless newer ones came."""
        with self._lock:
            for node in nodes:
                self._changed.setdefault(node.path, (node.current, node.total, node.status_line))

    def _make_room(self, path: Path) -> bool:
        with self._lock:
            if path in self._positions:
                return True
            if len(self._positions) >= MAX_NODES:
                is_first, self.dropped = not self.dropped, self.dropped + 1
                if is_first and self.full:
                    self.full()
                return False
            self._positions[path] = len(self._positions)
            return True


def row_values(node: Node, redactor: Redactor) -> dict[str, Any]:
    """Return the columns of a node, redacted and cleaned."""
    names = [clean_text(redactor.redact(name), MAX_NAME_CHARS) for name in node.path]
    group_name = json.dumps(names, ensure_ascii=False)
    return {
        "group_name": group_name,
        "group_digest": _digest(group_name),
        "current": node.current,
        "total": node.total,
        "status_line": clean_text(redactor.redact(node.status_line), MAX_STATUS_CHARS),
        "position": node.position,
    }


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
    if type(value) is int and -_BIGGEST <= value <= _BIGGEST:
        return value
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    return min(max(int(number), -_BIGGEST), _BIGGEST)


def _line(status_line: str | None) -> str:
    if status_line is None:
        return ""
    if isinstance(status_line, str):
        return status_line if len(status_line) <= 100_000 else status_line[:100_000]
    return str(status_line)
