"""The dependency graph as a value, and the document that `builds.drawing` makes a picture of.

Pure: no database, no process, no Graphviz. An arrow leads from a job to one that uses its builds,
so what has to run first stands left.
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

MAX_NODES = 500
MAX_EDGES = 1_500
"""What is drawn at most; above, layout takes minutes and nobody could read the picture."""

TITLE_WIDTH = 28  # characters
TITLE_LINES = 3
ID_SHOWN = 40
REMARK_SHOWN = 300
REMARKS_SHOWN = 5

# What looks different when this changes must not be taken from a cache.
_LOOK = 1

_UNDRAWABLE = re.compile(
    # What XML can't hold, and what turns the direction of the text around it.
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+"
)

# Background, text: those of the badges in builds.css, in its light theme.
_GOOD = ("#dafbe1", "#1a7f37")
_BAD = ("#ffebe9", "#b3261e")
_LATE = ("#fff3cd", "#7d5200")
_QUIET = ("#eaeef2", "#57606a")
_BUSY = "#0a5ea8"
_COLOURS = {"success": _GOOD, "failed": _BAD, "outdated": _LATE, "not_built": _QUIET}

_GRAPH = {"rankdir": "LR", "nodesep": "0.25", "ranksep": "0.6", "bgcolor": "white"}
# Inches: a picture of pixels must fit into memory, here and at the reader's.
_PIXELS = {"size": "110,110", "dpi": "72"}
_NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fontname": "sans-serif",
    "fontsize": "13",
    "margin": "0.2,0.1",
    "height": "0.4",
}
_EDGE = {"color": "#6e7781", "arrowsize": "0.8"}


@dataclass(frozen=True)
class Node:
    """A job of the graph: what is shown of it.

    `status` is a job's (`builds.status`); `remarks` are the reasons that the tooltip gives; `url`
    begins with a slash.
    """

    id: str
    title: str = ""
    status: str = "not_built"
    url: str = ""
    running: bool = False
    protected: bool = False
    retired: bool = False
    is_chosen: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The title, or the id where there is none, in one line."""
        return one_line(self.title) or one_line(self.id)

    @property
    def states(self) -> list[str]:
        """Where the job stands, in words: colours alone tell some people nothing."""
        flags = {"running": self.running, "protected": self.protected, "retired": self.retired}
        return [self.status.replace("_", " "), *(name for name, is_so in flags.items() if is_so)]

    @property
    def description(self) -> str:
        """All that the tooltip says, in lines."""
        name = cut(self.label, 200)
        shown_id = one_line(self.id)
        first = name if shown_id == name else f"{name} ({shown_id})"
        remarks = [cut(one_line(remark), REMARK_SHOWN) for remark in self.remarks[:REMARKS_SHOWN]]
        if len(self.remarks) > REMARKS_SHOWN:
            remarks.append(f"and {len(self.remarks) - REMARKS_SHOWN} more reasons")
        return "\n".join([f"{first}: {', '.join(self.states)}", *remarks])

    @property
    def css_class(self) -> str:
        """The classes by which the style sheet colours the node."""
        names = [f"jc-node-{self.status.replace('_', '-')}"]
        names += ["jc-node-running"] if self.running else []
        names += ["jc-node-chosen"] if self.is_chosen else []
        return " ".join(names)


@dataclass(frozen=True)
class Graph:
    """Jobs, and pairs `(job, one that uses its builds)` of their ids."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, nodes: Iterable[Node], uses: Iterable[tuple[str, str]]) -> Graph:
        """Return the graph of `nodes` with those of the pairs `uses` that lie within it."""
        found = tuple(nodes)
        ids = {node.id for node in found}
        return cls(found, tuple(dict.fromkeys(pair for pair in uses if ids.issuperset(pair))))

    @cached_property
    def digest(self) -> str:
        """What the picture depends on, in 32 characters: equal graphs look the same."""
        content = [_LOOK, [asdict(node) for node in self.nodes], self.edges]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    @property
    def is_drawable(self) -> bool:
        """Whether it is small enough for a picture."""
        return len(self.nodes) <= MAX_NODES and len(self.edges) <= MAX_EDGES

    @cached_property
    def needs(self) -> Mapping[str, list[Node]]:
        """The jobs that each job of the graph needs, by its id."""
        by_id = {node.id: node for node in self.nodes}
        found: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for used, user in self.edges:
            found[user].append(by_id[used])
        return found

    def document(self, file_format: str, *, base: str = "") -> dict[str, Any]:
        """Return what `builds.drawing` draws; `base` stands before the jobs' addresses.

        The first node is named `n0`, and so on: a name of Graphviz's can't be just any text.
        """
        names = {node.id: f"n{i}" for i, node in enumerate(self.nodes)}
        is_text = file_format == "dot"
        return {
            "format": file_format,
            "graph": _GRAPH | (_PIXELS if file_format == "png" else {}),
            "node": _NODE,
            "edge": _EDGE,
            "nodes": [
                [names[node.id], _attributes(node, i, base if is_text else None)]
                for i, node in enumerate(self.nodes)
            ],
            "edges": [[names[tail], names[head]] for tail, head in self.edges],
        }


def one_line(text: str) -> str:
    """Return `text` in one line, without what can't be drawn or would turn its surroundings."""
    # Only the beginning is ever shown: titles may be of any length.
    return " ".join(_UNDRAWABLE.sub(" ", text[:2_000]).split())


def cut(text: str, length: int) -> str:
    """Return at most `length` characters of `text`."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _attributes(node: Node, number: int, base: str | None) -> dict[str, str]:
    background, colour = _COLOURS.get(node.status, _QUIET)
    found = {
        "id": f"n{number}",
        "label": _label(node),
        "fillcolor": background,
        "fontcolor": colour,
        "color": _BUSY if node.running else colour,
        "penwidth": "3" if node.is_chosen else "1",
    }
    if node.retired:
        found["style"] = "rounded,filled,dashed"
    if base is None:
        return found
    tooltip = _escaped(node.description).replace("\n", "\\n")
    return found | {
        "job": _UNDRAWABLE.sub(" ", node.id),
        "tooltip": tooltip,
        "URL": _escaped(base + node.url),
    }


def _label(node: Node) -> str:
    """Return title, id and state as lines; the state is last, so that no text ends in `>`.

    Graphviz would take a text within `<` and `>` for markup.
    """
    lines = textwrap.wrap(cut(node.label, TITLE_WIDTH * TITLE_LINES), TITLE_WIDTH)
    shown_id = one_line(node.id)
    if shown_id != node.label:
        lines.append(cut(shown_id, ID_SHOWN))
    states = " · ".join(node.states)
    return "\\n".join([*(_escaped(line) for line in lines), states])


def _escaped(text: str) -> str:
    """Return `text` as Graphviz writes it: no escape of its own and no entity in it."""
    return text.replace("&", "&amp;").replace("\\", "\\\\")
