"""Where everything of a graph stands: boxes, frames around open groups, arrows.

Graphviz lays out what hangs together (see `builds.drawing`), once for a graph, whatever the states
of its jobs; what has no arrows is put in rows, and all of that side by side. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from builds.graphs import MAX_EDGES, MAX_NODES, TEXT_ROOM, Graph, Group, Node
from builds.packing import Size, grid, packed

WIDTH = TEXT_ROOM + 14.0
LINE = 15.0
PADDING = 8.0
FOLDED: Size = (220.0, 94.0)
GAP = 14.0  # between boxes in rows
PIECE_GAP = 34.0
MARGIN = 10.0
FRAME_TOP = 34.0  # room for a group's name
FRAME = 12.0

Corners = tuple[float, float, float, float]  # left, top, right, bottom
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A job, or a folded group."""

    name: str
    node: Node | None = None
    group: Group | None = None

    @property
    def size(self) -> Size:
        """Its width and height."""
        if self.node is None:
            return FOLDED
        return WIDTH, LINE * (len(self.node.lines) + 1) + 2 * PADDING


@dataclass(frozen=True)
class Sketch:
    """What is to be laid out: boxes, the frames around some, and arrows with what each stands for.

    Names are short ones of our own: `n0` is the first job, `g0` the first group.
    """

    boxes: Mapping[str, Box]
    arrows: Mapping[tuple[str, str], list[tuple[str, str]]]
    frames: Mapping[str, list[str]]
    groups: Mapping[str, Group]

    @classmethod
    def of(cls, graph: Graph) -> Sketch:
        """Return the sketch of a graph: a folded group is one box, and has its jobs' arrows."""
        groups = {f"g{i}": group for i, group in enumerate(graph.groups)}
        by_key = {group.key: name for name, group in groups.items()}
        boxes: dict[str, Box] = {}
        place: dict[str, str] = {}
        frames: dict[str, list[str]] = {}
        for number, node in enumerate(graph.nodes):
            frame = by_key.get(node.group) if node.group is not None else None
            if frame is not None and groups[frame].is_folded:
                boxes.setdefault(frame, Box(frame, group=groups[frame]))
                place[node.id] = frame
                continue
            name = f"n{number}"
            boxes[name] = Box(name, node=node)
            place[node.id] = name
            if frame is not None:
                frames.setdefault(frame, []).append(name)
        arrows: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for tail, head in graph.edges:
            ends = place[tail], place[head]
            if ends[0] != ends[1]:
                arrows.setdefault(ends, []).append((tail, head))
        return cls(boxes, arrows, frames, groups)

    @property
    def is_drawable(self) -> bool:
        """Whether it is small enough for a picture."""
        return len(self.boxes) <= MAX_NODES and len(self.arrows) <= MAX_EDGES

    @cached_property
    def lonely(self) -> set[str]:
        """The boxes that no arrow touches."""
        return set(self.boxes) - {end for ends in self.arrows for end in ends}

    def pieces(self) -> list[Piece]:
        """Return what hangs together by arrows and frames, in the order of the graph."""
        root = {name: name for name in self.boxes}

        def found(name: str) -> str:
            while root[name] != name:
                root[name] = root[root[name]]
                name = root[name]
            return name

        joined = [
            *self.arrows,
            *((names[0], one) for names in self.frames.values() for one in names),
        ]
        for one, other in joined:
            root[found(other)] = found(one)
        members: dict[str, list[str]] = {}
        for name in self.boxes:
            members.setdefault(found(name), []).append(name)
        framed = {name for names in self.frames.values() for name in names}
        return [
            Piece(self, names) for names in members.values() if len(names) > 1 or names[0] in framed
        ]

    def alone(self) -> list[str]:
        """Return the boxes with neither arrow nor frame."""
        framed = {name for names in self.frames.values() for name in names}
        return [name for name in self.boxes if name in self.lonely and name not in framed]


@dataclass
class Piece:
    """A part of a sketch that hangs together.

    In a frame the boxes without arrows stand in rows: Graphviz would make a column of them, and is
    given a block in their place.
    """

    sketch: Sketch
    names: Sequence[str]
    blocks: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what `builds.drawing` lays out."""
        sketch, own = self.sketch, set(self.names)
        sizes = {name: sketch.boxes[name].size for name in self.names}
        clusters = {}
        for frame, names in sketch.frames.items():
            if not own.issuperset(names):
                continue
            lonely = [name for name in names if name in sketch.lonely]
            inside = [name for name in names if name not in sketch.lonely]
            if lonely:
                block = f"b{frame}"
                self.blocks[block] = lonely
                sizes[block] = rows([sizes.pop(name) for name in lonely])[1]
                inside.append(block)
            clusters[frame] = inside
        edges = [list(ends) for ends in sketch.arrows if own.issuperset(ends)]
        return {"boxes": sizes, "edges": edges, "clusters": clusters}


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels from the left and from above."""

    size: Size
    boxes: Mapping[str, Corners]
    frames: Mapping[str, Corners]
    arrows: Mapping[tuple[str, str], Points]

    @classmethod
    def of(cls, sketch: Sketch, pieces: Sequence[Piece], found: Sequence[Any]) -> Layout:
        """Return the layout of a sketch, of which Graphviz `found` where the pieces' boxes are."""
        alone = sketch.alone()
        inner, alone_size = rows([sketch.boxes[name].size for name in alone])
        sizes: list[Size] = [(one["size"][0], one["size"][1]) for one in found]
        places, _ = packed([*sizes, alone_size] if alone else sizes, PIECE_GAP)
        boxes: dict[str, Corners] = {}
        frames: dict[str, Corners] = {}
        arrows: dict[tuple[str, str], Points] = {}
        for piece, one, (x, y) in zip(pieces, found, places, strict=False):
            left, top = x + MARGIN, y + MARGIN
            for name, (box_left, box_top) in one["boxes"].items():
                boxes.update(_placed(piece, name, (left + box_left, top + box_top)))
            for name, (x0, y0, x1, y1) in one["clusters"].items():
                frames[name] = left + x0, top + y0, left + x1, top + y1
            for tail, head, points in one["edges"]:
                arrows[tail, head] = [(left + px, top + py) for px, py in points]
        for name, (dx, dy) in zip(alone, inner, strict=True):
            x, y = places[-1]
            boxes[name] = _corners(x + MARGIN + dx, y + MARGIN + dy, sketch.boxes[name].size)
        every = [*boxes.values(), *frames.values()]
        lines = [point for points in arrows.values() for point in points]
        right = max([*(corners[2] for corners in every), *(px for px, _ in lines)], default=0)
        bottom = max([*(corners[3] for corners in every), *(py for _, py in lines)], default=0)
        return cls((right + MARGIN, bottom + MARGIN), boxes, frames, arrows)


def rows(sizes: Sequence[Size]) -> tuple[list[tuple[float, float]], Size]:
    """Return places in rows for boxes of one width, each row as high as its highest needs."""
    highest = max((height for _, height in sizes), default=0)
    widest = max((width for width, _ in sizes), default=0)
    return grid(len(sizes), (widest, highest), GAP)


def _placed(piece: Piece, name: str, place: tuple[float, float]) -> dict[str, Corners]:
    """Return where a box stands, or those that a block stands for."""
    boxes = piece.sketch.boxes
    if name not in piece.blocks:
        return {name: _corners(*place, boxes[name].size)}
    names = piece.blocks[name]
    inner, _ = rows([boxes[one].size for one in names])
    return {
        one: _corners(place[0] + dx, place[1] + dy, boxes[one].size)
        for one, (dx, dy) in zip(names, inner, strict=True)
    }


def _corners(left: float, top: float, size: Size) -> Corners:
    return left, top, left + size[0], top + size[1]


def links(pairs: Iterable[tuple[str, str]], labels: Mapping[str, str], shown: int = 10) -> str:
    """Return in words what an arrow stands for."""
    found = list(pairs)
    lines = [f"{labels[head]} needs {labels[tail]}" for tail, head in found[:shown]]
    if len(found) > shown:
        lines.append(f"and {len(found) - shown:,} more")
    return "\n".join(lines)
