"""What Graphviz drew, written anew: nothing gets through but shapes, texts and our own links.

No script, no style, no address and no name of Graphviz's own: a content security policy has
nothing to refuse, and nothing in an id or a title can become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from builds.graphs import Graph, Node

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_SHAPES = frozenset({"path", "polygon", "polyline", "ellipse", "text"})
_KEPT = frozenset(
    {
        *("d", "points", "cx", "cy", "rx", "ry", "x", "y"),
        *("fill", "stroke", "stroke-width", "stroke-dasharray"),
        *("text-anchor", "font-family", "font-size"),
    }
)
_LABEL = "Dependency graph: an arrow leads from a job to one that uses its builds"


def inline(drawn: bytes, graph: Graph) -> str:
    """Return an <svg> element for a page: links within the site, no background of its own."""
    root, shapes = _parsed(drawn)
    root.set("class", "jc-graph-svg")
    root.set("role", "group")
    root.set("aria-label", _LABEL)
    root.append(_group(shapes, graph, base="", with_background=False))
    return ET.tostring(root, encoding="unicode")


def file(drawn: bytes, graph: Graph, *, base: str) -> str:
    """Return an SVG document that stands alone; `base` makes the addresses of its links whole."""
    root, shapes = _parsed(drawn)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.append(_group(shapes, graph, base=base, with_background=True))
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _parsed(drawn: bytes) -> tuple[ET.Element, ET.Element]:
    """Return a new root of the same size, and Graphviz's group with everything in it."""
    # Written by our own program a moment ago: no document of others.
    source = ET.fromstring(drawn)  # noqa: S314
    shapes = source.find(f"{_NAMESPACE}g")
    if shapes is None:
        raise ValueError("Graphviz wrote an SVG without a group")
    root = ET.Element("svg")
    for name in ("width", "height"):
        # Points become pixels, so that letters have the size of the page's.
        root.set(name, re.sub(r"pt$", "", source.get(name, "")))
    root.set("viewBox", source.get("viewBox", ""))
    return root, shapes


def _group(shapes: ET.Element, graph: Graph, *, base: str, with_background: bool) -> ET.Element:
    nodes = {f"n{i}": node for i, node in enumerate(graph.nodes)}
    group = ET.Element("g", {"transform": shapes.get("transform", "")})
    if with_background:
        group.extend(_shape(child) for child in shapes.findall(f"{_NAMESPACE}polygon"))
    parts = shapes.findall(f"{_NAMESPACE}g")
    group.extend(_edge(part, nodes) for part in parts if part.get("class") == "edge")
    # In the order of the graph: so the keyboard walks through them.
    drawn = {part.get("id", ""): part for part in parts}
    group.extend(_node(drawn[name], node, base) for name, node in nodes.items())
    return group


def _node(drawn: ET.Element, node: Node, base: str) -> ET.Element:
    link = ET.Element("a", {"href": base + node.url, "class": f"jc-node {node.css_class}"})
    title = ET.SubElement(link, "title")
    title.text = node.description
    link.extend(_shapes(drawn))
    return link


def _edge(drawn: ET.Element, nodes: Mapping[str, Node]) -> ET.Element:
    tail, _, head = drawn.findtext(f"{_NAMESPACE}title", "").partition("->")
    edge = ET.Element("g", {"class": "jc-edge", "aria-hidden": "true"})
    title = ET.SubElement(edge, "title")
    title.text = f"{nodes[head].label} needs {nodes[tail].label}"
    edge.extend(_shapes(drawn))
    return edge


def _shapes(drawn: ET.Element) -> Iterator[ET.Element]:
    for element in drawn.iter():
        if element.tag.removeprefix(_NAMESPACE) in _SHAPES:
            yield _shape(element)


def _shape(drawn: ET.Element) -> ET.Element:
    kept = {name: value for name, value in drawn.items() if name in _KEPT}
    shape = ET.Element(drawn.tag.removeprefix(_NAMESPACE), kept)
    shape.text = drawn.text if shape.tag == "text" else None
    return shape
