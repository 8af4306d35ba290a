"""A build's progress as a nested list of bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builds.models import Build
from builds.progress import progress_tree
from jobcontrol.utils import ProgressReport

SHOWN = 500  # bars, until all are asked for
OPEN_BARS = 100  # a larger tree is folded below its first levels
OPEN_DEPTH = 1
STEPS = 10  # colours from red to green


@dataclass(frozen=True)
class ProgressRow:
    """One bar of a nested list: does it open a list below it, how many lists end after it."""

    label: str
    current: int
    total: int
    percent: str
    status_line: str
    shown: int  # what the bar shows, within 0 and `maximum`
    maximum: int
    step: int | None  # its colour, 0 being red and 10 green; None where nothing can be said
    opens: bool
    unfolded: bool
    closes: range


def progress_part(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the bars to show, how many more there are, and how the build failed, if it did.

    Bars may all be full, and green, when a build fails: it is said at the first of them.
    """
    nodes = list(progress_tree(build).walk())
    root = nodes[0][1]
    if len(nodes) == 1 and root.total == 0 and root.current == 0 and not root.status_line:
        return {"progress": [], "progress_hidden": 0}
    limit = len(nodes) if query.get("progress") == "all" else SHOWN
    return {
        "progress": progress_rows(root, limit),
        "progress_hidden": max(len(nodes) - limit, 0),
        "progress_stopped": build.status if build.finished and not build.success else "",
    }


def progress_rows(tree: ProgressReport, limit: int) -> list[ProgressRow]:
    """Return `limit` bars of a tree, flat: templates should not recurse that deep.

    Those nearest to the root: all groups, before all parts of the first of them.
    """
    everything = list(tree.walk())
    by_depth = sorted(range(len(everything)), key=lambda place: everything[place][0])
    nodes = [everything[place] for place in sorted(by_depth[:limit])]
    depths = [depth for depth, _ in nodes[1:]] + [0]
    is_small = len(nodes) <= OPEN_BARS
    return [
        _row(
            node,
            opens=below > depth,
            unfolded=is_small or depth < OPEN_DEPTH,
            closes=max(depth - below, 0),
        )
        for (depth, node), below in zip(nodes, depths, strict=True)
    ]


def _row(node: ProgressReport, *, opens: bool, unfolded: bool, closes: int) -> ProgressRow:
    current, total = node.current, node.total
    return ProgressRow(
        label="Total" if node.name is None else node.name,
        current=current,
        total=total,
        percent="N/A" if total <= 0 else f"{current * 100 // total}%",
        status_line=node.status_line or "",
        shown=min(max(current, 0), max(total, 0)),
        maximum=max(total, 1),
        step=None if total <= 0 else min(max(current * STEPS // total, 0), STEPS),
        opens=opens,
        unfolded=unfolded,
        closes=range(closes),
    )
