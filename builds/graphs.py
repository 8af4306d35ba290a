"""The dependency graph as a value: jobs, where they stand, the arrows and groups between them.

Pure: no database, no process, no Graphviz. An arrow leads from a job to one that uses its builds,
so what has to run first stands left.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from builds.letters import fitting, wrapped

MAX_NODES = 1_000
MAX_EDGES = 2_000
"""What is drawn at most; above, layout takes minutes and nobody could read the picture."""

TITLE_SIZE, SMALL_SIZE = 13.0, 11.0  # of letters, as the style sheet has them
TEXT_ROOM = 186.0  # of a box, for a line
TITLE_LINES = 2
REMARK_SHOWN = 300
REMARKS_SHOWN = 5

# What looks different when this changes must not be taken from a cache.
_LOOK = 3

_UNDRAWABLE = re.compile(
    # What XML can't hold, and what turns the direction of the text around it.
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+"
)

# What a state looks like beside its colour, which some people do not see.
SIGNS = {
    "success": "✓",
    "successful": "✓",
    "failed": "✕",
    "outdated": "↻",
    "not_built": "○",
    "running": "▶",
    "cancelled": "⊘",
    "skipped": "↷",
}
# The order in which a group counts its jobs: what needs somebody first.
ORDER = ("failed", "outdated", "not_built", "success")


@dataclass(frozen=True)
class Node:
    """A job of the graph: what is shown of it.

    `status` is a job's (`builds.status`); `remarks` are the reasons that the tooltip gives; `url`
    begins with a slash, and so does `around_url`, the address of a graph of this job alone. `group`
    is the key of the group that it stands in.
    """

    id: str
    title: str = ""
    status: str = "not_built"
    url: str = ""
    running: bool = False
    protected: bool = False
    retired: bool = False
    is_chosen: bool = False
    is_found: bool = False
    remarks: tuple[str, ...] = ()
    group: str | None = None
    around_url: str = ""

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
    def states_text(self) -> str:
        """The same in one line that fits into the box, with signs."""
        words = self.states
        first = f"{SIGNS.get(self.status, '')} {words[0]}".strip()
        rest = [f"{SIGNS['running']} running" if word == "running" else word for word in words[1:]]
        return small(" · ".join([first, *rest]), TEXT_ROOM)

    @property
    def lines(self) -> list[str]:
        """What stands in the box above the states: the title in lines, and the id."""
        lines = wrapped(self.label, TEXT_ROOM / TITLE_SIZE, TITLE_LINES, bold=True)
        shown_id = one_line(self.id)
        return lines if shown_id == self.label else [*lines, small(shown_id, TEXT_ROOM)]

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
        names += ["jc-node-found"] if self.is_found else []
        names += ["jc-node-retired"] if self.retired else []
        return " ".join(names)

    @property
    def drawn(self) -> tuple[Any, ...]:
        """What of it decides the layout: all that is shown but the state."""
        return self.id, self.label, self.url, self.is_chosen, self.group, self.around_url


@dataclass(frozen=True)
class Group:
    """Jobs in a box that can be folded into one; `url` leads to the page with it turned over."""

    key: str
    label: str
    is_folded: bool = False
    url: str = ""


@dataclass(frozen=True)
class Counts:
    """How many jobs of a group stand where."""

    total: int
    by_state: Mapping[str, int]
    running: int

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Counts:
        """Count nodes."""
        found = list(nodes)
        states = Counter(node.status for node in found)
        order = [*ORDER, *sorted(set(states) - set(ORDER))]
        by_state = {state: states[state] for state in order if states[state]}
        return cls(len(found), by_state, sum(node.running for node in found))

    @property
    def size(self) -> str:
        """The number of jobs in words."""
        return f"{self.total:,} job{'' if self.total == 1 else 's'}"

    @property
    def parts(self) -> list[str]:
        """Each state with its sign and number."""
        named = [(state, number) for state, number in self.by_state.items()]
        named += [("running", self.running)] if self.running else []
        return [f"{SIGNS.get(s, '')} {n:,} {s.replace('_', ' ')}".strip() for s, n in named]


@dataclass(frozen=True)
class Graph:
    """Jobs, and pairs `(job, one that uses its builds)` of their ids; the groups that they form."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...] = field(default=())

    @classmethod
    def of(
        cls,
        nodes: Iterable[Node],
        uses: Iterable[tuple[str, str]],
        groups: Iterable[Group] = (),
    ) -> Graph:
        """Return the graph of `nodes` with those of the pairs `uses` that lie within it."""
        found = tuple(nodes)
        ids = {node.id for node in found}
        pairs = tuple(dict.fromkeys(pair for pair in uses if ids.issuperset(pair)))
        return cls(found, pairs, tuple(groups))

    @cached_property
    def digest(self) -> str:
        """What a file depends on, in 32 characters: equal graphs look the same."""
        # `vars`, and not `asdict`: that copies every value, which takes longer than all else.
        content = [_LOOK, [vars(node) for node in self.nodes], self.edges]
        return _digest([content, [vars(group) for group in self.groups]])

    @cached_property
    def shape(self) -> str:
        """The same without where the jobs stand: what decides where everything is drawn."""
        groups = [vars(group) for group in self.groups]
        return _digest([_LOOK, [node.drawn for node in self.nodes], self.edges, groups])

    @cached_property
    def needs(self) -> Mapping[str, list[Node]]:
        """The jobs that each job of the graph needs, by its id."""
        by_id = {node.id: node for node in self.nodes}
        found: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for used, user in self.edges:
            found[user].append(by_id[used])
        return found

    @cached_property
    def members(self) -> Mapping[str, list[Node]]:
        """The jobs of each group, by its key."""
        found: dict[str, list[Node]] = {group.key: [] for group in self.groups}
        for node in self.nodes:
            if node.group in found:
                found[node.group].append(node)
        return found

    @cached_property
    def counts(self) -> Mapping[str, Counts]:
        """How the jobs of each group stand, by its key."""
        return {key: Counts.of(nodes) for key, nodes in self.members.items()}


def one_line(text: str) -> str:
    """Return `text` in one line, without what can't be drawn or would turn its surroundings."""
    # Only the beginning is ever shown: titles may be of any length.
    return " ".join(_UNDRAWABLE.sub(" ", text[:2_000]).split())


def cut(text: str, length: int) -> str:
    """Return at most `length` characters of `text`."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def small(text: str, room: float) -> str:
    """Return as much of `text` as fits into `room` in small letters."""
    return fitting(text, room / SMALL_SIZE)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
