"""The picture of a graph as SVG: shapes, texts and links of ours, for a page or as a file.

No script and no style: a content security policy has nothing to refuse, and nothing in an id or a
title can become markup. What depends on states alone is made by `states`, for the first load and
for every refresh of an open page (see graph.js).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from math import hypot
from typing import Any
from xml.etree import ElementTree as ET

from builds.graphs import ORDER, SMALL_SIZE, Counts, Graph, Group, Node, cut, one_line, small
from builds.layouts import (
    FOLDED,
    FRAME,
    LINE,
    PADDING,
    Box,
    Corners,
    Layout,
    Points,
    Sketch,
    links,
)
from builds.letters import fitting, width
from builds.svg_colours import BAR_CLASSES, paint

LABEL = "Dependency graph: an arrow leads from a job to one that uses its builds"
BAR: tuple[float, float] = (10.0, 6.0)  # a folded group's: from the side, and high
GROUP_SIZE = 14.0  # of the letters of a group's name, as the style sheet has it
FOLDED_ROOM = FOLDED[0] - 2 * BAR[0]
OPEN, FOLDED_SIGN = "▾", "▸"
NUMBER_ROOM = 48.0  # beside the name of a frame, for the number of its jobs at the least
GAP = 12.0  # between both
TIP = 8.0
BASELINE = 11.0  # of a line of text, from above


def states(graph: Graph, sketch: Sketch, layout: Layout) -> dict[str, dict[str, Any]]:
    """Return what of each box and frame depends on states: class, texts, tooltip, bar."""
    found: dict[str, dict[str, Any]] = {}
    for name, box in sketch.boxes.items():
        if box.node is not None:
            text = box.node.states_text
            found[name] = {"c": box.node.css_class, "s": [text], "t": box.node.description}
    for name, group in sketch.groups.items():
        counts = graph.counts[group.key]
        if not counts.total:
            continue
        found[name] = {
            "c": "jc-node-running" if counts.running else "",
            "s": _state_lines(group, counts, layout.frames.get(name)),
            "t": f"{_action(group)} {group.label}, {counts.size}: {', '.join(counts.parts)}",
        }
        if group.is_folded:
            found[name]["b"] = _bar(counts, layout.boxes[name])
    return found


@dataclass(frozen=True)
class Skeleton:
    """A picture without states: pieces of text, and the names of what stands between them."""

    pieces: tuple[str, ...]
    holes: tuple[tuple[str, str, int, int], ...]  # box, key, and place in its list if it is one

    @classmethod
    def of(cls, graph: Graph, sketch: Sketch, layout: Layout) -> Skeleton:
        """Make the <svg> element for a page: links within the site, no background of its own."""
        # No title can contain this: it is made from all of them.
        mark = graph.shape
        root = _root(layout)
        root.set("class", "jc-graph-svg")
        root.set("role", "group")
        root.set("aria-label", LABEL)
        shown = {
            name: _marked(mark, name, state)
            for name, state in states(graph, sketch, layout).items()
        }
        root.extend(_parts(graph, sketch, layout, shown, base=""))
        pieces = re.split(
            f"{mark}:([a-z0-9]+):([a-z]):(\\d+):(\\d+):", ET.tostring(root, "unicode")
        )
        holes = zip(pieces[1::5], pieces[2::5], pieces[3::5], pieces[4::5], strict=True)
        found = [(name, key, int(first), int(second)) for name, key, first, second in holes]
        return cls(tuple(pieces[::5]), tuple(found))

    def filled(self, states: Mapping[str, Mapping[str, Any]]) -> str:
        """Return the picture with the states of its jobs."""
        found = [self.pieces[0]]
        for (name, key, first, second), piece in zip(self.holes, self.pieces[1:], strict=True):
            value = states[name][key]
            if key == "s":
                value = value[first]
            elif key == "b":
                value = value[first][second]
            found += [escape(str(value)), piece]
        return "".join(found)


def _marked(mark: str, name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with marks in the places of all its values."""

    def hole(key: str, first: int = 0, second: int = 0) -> str:
        return f"{mark}:{name}:{key}:{first}:{second}:"

    found: dict[str, Any] = {"c": hole("c"), "t": hole("t")}
    found["s"] = [hole("s", number) for number in range(len(state["s"]))]
    if "b" in state:
        bars = range(len(state["b"]))
        found["b"] = [[state["b"][i][0], hole("b", i, 1), hole("b", i, 2)] for i in bars]
    return found


def file(graph: Graph, sketch: Sketch, layout: Layout, *, base: str) -> str:
    """Return an SVG document that stands alone; `base` makes the addresses of its links whole."""
    root = _root(layout)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("font-family", "sans-serif")
    ET.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    shown = states(graph, sketch, layout)
    root.extend(_parts(graph, sketch, layout, shown, base=base))
    paint(root, sketch)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _root(layout: Layout) -> ET.Element:
    width, height = (f"{one:.0f}" for one in layout.size)
    return ET.Element("svg", {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"})


def _parts(
    graph: Graph,
    sketch: Sketch,
    layout: Layout,
    shown: Mapping[str, Mapping[str, Any]],
    *,
    base: str,
) -> Iterator[ET.Element]:
    """Return frames, arrows, then names of frames and boxes: as the keyboard walks through them.

    `shown` are the states, or what stands in their places.
    """
    names = {node.id: one_line(node.label) for node in graph.nodes}
    for name, corners in layout.frames.items():
        place = {"class": "jc-frame-back", "data-back": name}
        back = ET.Element("g", place)
        back.append(_rect(corners, "jc-frame-shape"))
        yield back
    for ends, points in layout.arrows.items():
        yield _arrow(ends, points, sketch.arrows[ends], names)
    framed = {name: frame for frame, inside in sketch.frames.items() for name in inside}
    opened: set[str] = set()
    for name, box in sketch.boxes.items():
        frame = framed.get(name)
        if frame is not None and frame not in opened:
            opened.add(frame)
            corners = layout.frames[frame]
            yield _frame(frame, sketch.groups[frame], corners, shown[frame], base)
        if box.node is not None:
            yield _node(box, box.node, layout.boxes[name], shown[name], base)
        elif box.group is not None:
            yield _folded(box, box.group, layout.boxes[name], shown[name], base)


def _node(
    box: Box, node: Node, corners: Corners, shown: Mapping[str, Any], base: str
) -> ET.Element:
    attributes = {"data-node": box.name, "data-name": f"{cut(node.label, 200)}\n{node.id[:200]}"}
    whole = ET.Element("g", {"class": f"jc-node {shown['c']}", **_clean(attributes)})
    link = ET.SubElement(whole, "a", {"href": base + node.url})
    ET.SubElement(link, "title").text = shown["t"]
    link.append(_rect(corners, "jc-shape"))
    inside = _inside(link, corners)
    lines = node.lines
    middle = (corners[0] + corners[2]) / 2
    for number, text in enumerate(lines):
        is_id = number == len(lines) - 1 and len(lines) > 1 and node.title.strip() != ""
        kind = "jc-of-id" if is_id else "jc-of-title"
        inside.append(_text(middle, _line(corners, number), text, kind))
    inside.append(_text(middle, _line(corners, len(lines)), shown["s"][0], "jc-of-state"))
    if node.around_url and not base and not node.is_chosen:
        around = ET.SubElement(
            whole, "a", {"href": node.around_url, "class": "jc-around", "tabindex": "-1"}
        )
        text = f"Only what {cut(node.label, 60)} needs, and what needs it"
        ET.SubElement(around, "title").text = text
        place = {"cx": _n(corners[2] - 12), "cy": _n(corners[1] + 12), "r": "8"}
        ET.SubElement(around, "circle", place)
        around.append(_text(corners[2] - 12, corners[1] + 16, "⌖", "jc-of-id"))
    return whole


def _frame(
    name: str, group: Group, corners: Corners, shown: Mapping[str, Any], base: str
) -> ET.Element:
    whole = ET.Element("g", {"class": "jc-frame", "data-node": name})
    link = _toggle(whole, group, shown, base)
    left, top = corners[0] + FRAME, corners[1] + 19
    name_text = _name(group, OPEN, _frame_room(corners) - NUMBER_ROOM)
    _inside(link, corners).append(_text(left, top, name_text, "jc-of-group", anchor="start"))
    state = _text(corners[2] - FRAME, top, shown["s"][0], "jc-of-state", anchor="end")
    whole.append(state)
    return whole


def _folded(
    box: Box, group: Group, corners: Corners, shown: Mapping[str, Any], base: str
) -> ET.Element:
    classes = f"jc-node jc-folded {shown['c']}".strip()
    whole = ET.Element("g", {"class": classes, "data-node": box.name})
    link = _toggle(whole, group, shown, base)
    shadow = (corners[0] + 4, corners[1] + 4, corners[2] + 4, corners[3] + 4)
    link.append(_rect(shadow, "jc-shadow"))
    link.append(_rect(corners, "jc-shape"))
    left, top = corners[0] + BAR[0], corners[1]
    inside = _inside(link, corners)
    name_text = _name(group, FOLDED_SIGN, FOLDED_ROOM)
    inside.append(_text(left, top + 21, name_text, "jc-of-group", anchor="start"))
    for state, x, wide in shown["b"]:
        place = {"x": str(x), "y": _n(top + 30), "width": str(wide), "height": _n(BAR[1])}
        ET.SubElement(link, "rect", {"class": f"{BAR_CLASSES}{state}", **place})
    for number, text in enumerate(shown["s"]):
        inside.append(_text(left, top + 50 + number * LINE, text, "jc-of-state", anchor="start"))
    return whole


def _inside(link: ET.Element, corners: Corners) -> ET.Element:
    """Add a part of the picture that nothing leaves: whatever fonts a page is shown in."""
    left, top, right, bottom = corners
    place = {"x": _n(left), "y": _n(top), "width": _n(right - left), "height": _n(bottom - top)}
    view = " ".join(place.values())
    return ET.SubElement(link, "svg", {**place, "viewBox": view, "overflow": "hidden"})


def _toggle(whole: ET.Element, group: Group, shown: Mapping[str, Any], base: str) -> ET.Element:
    href = base + group.url if group.url else ""
    attributes = {"class": "jc-toggle", "data-group": group.key, **({"href": href} if href else {})}
    link = ET.SubElement(whole, "a", _clean(attributes))
    ET.SubElement(link, "title").text = shown["t"]
    return link


def _arrow(
    ends: tuple[str, str],
    points: Points,
    pairs: list[tuple[str, str]],
    names: Mapping[str, str],
) -> ET.Element:
    tail, head = ends
    attributes = {"class": "jc-edge", "aria-hidden": "true", "data-tail": tail, "data-head": head}
    edge = ET.Element("g", attributes)
    ET.SubElement(edge, "title").text = links(pairs, names)
    curve = points[:-1]
    rest = " ".join(_point(point) for point in curve[1:])
    ET.SubElement(edge, "path", {"d": f"M{_point(curve[0])} C{rest}", "fill": "none"})
    ET.SubElement(edge, "polygon", {"points": _tip(curve[-1], points[-1])})
    if len(pairs) > 1:
        x, y = curve[len(curve) // 2]
        edge.append(_text(x, y - 4, f"{len(pairs):,}", "jc-of-id"))
    return edge


def _tip(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return the three corners of an arrow's tip."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = hypot(dx, dy) or 1.0
    side = (-dy / length * TIP / 2.5, dx / length * TIP / 2.5)
    corners = (
        end,
        (start[0] + side[0], start[1] + side[1]),
        (start[0] - side[0], start[1] - side[1]),
    )
    return " ".join(_point(corner) for corner in corners)


# --- Texts and numbers ----------------------------------------------------------------------------


def _state_lines(group: Group, counts: Counts, frame: Corners | None) -> list[str]:
    """Return what a group says of its jobs: what a frame has room for, or three lines of a box.

    Those are how many there are and run, then what needs somebody first, then the others.
    """
    parts = counts.parts
    if group.is_folded:
        running = parts[-1:] if counts.running else []
        states = parts[:-1] if counts.running else parts
        lines = [[counts.size, *running], states[:2], states[2:]]
        return [small(" · ".join(line), FOLDED_ROOM) for line in lines]
    room = 0.0
    if frame is not None:
        room = _frame_room(frame)
        name = _name(group, OPEN, room - NUMBER_ROOM)
        room -= width(name, bold=True) * GROUP_SIZE + GAP
    for text in (f"{counts.size}: {' · '.join(parts)}", counts.size):
        if width(text) * SMALL_SIZE <= room:
            return [text]
    return [f"{counts.total:,}"]


def _frame_room(frame: Corners) -> float:
    return frame[2] - frame[0] - 2 * FRAME


def _bar(counts: Counts, corners: Corners) -> list[tuple[str, str, str]]:
    """Return the parts of a group's bar, always of the same states: from where, how wide."""
    left, room = corners[0] + BAR[0], corners[2] - corners[0] - 2 * BAR[0]
    found = []
    for state in ORDER:
        width = room * counts.by_state.get(state, 0) / counts.total
        found.append((state.replace("_", "-"), _n(left), _n(width)))
        left += width
    return found


def _action(group: Group) -> str:
    return "Open" if group.is_folded else "Fold"


def _name(group: Group, sign: str, room: float) -> str:
    text = f"{sign} {one_line(group.label) or '–'}"
    return fitting(text, room / GROUP_SIZE, bold=True)


def _clean(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes in which nothing stands that XML can't hold."""
    return {
        name: "\n".join(one_line(line) for line in value.split("\n"))
        if name.startswith("data-name")
        else one_line(value)
        if name == "data-group"
        else value
        for name, value in attributes.items()
    }


def _rect(corners: Corners, kind: str) -> ET.Element:
    left, top, right, bottom = corners
    place = {"x": _n(left), "y": _n(top), "width": _n(right - left), "height": _n(bottom - top)}
    return ET.Element("rect", {"class": kind, "rx": "7", **place})


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "middle") -> ET.Element:
    found = ET.Element("text", {"class": kind, "x": _n(x), "y": _n(y), "text-anchor": anchor})
    found.text = text
    return found


def _line(corners: Corners, number: int) -> float:
    return corners[1] + PADDING + number * LINE + BASELINE


def _point(point: tuple[float, float]) -> str:
    return f"{_n(point[0])},{_n(point[1])}"


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
