"""Lays out a graph, or draws one that is: a program of its own, the only one that loads Graphviz.

It reads a document as JSON on stdin and writes the answer to stdout. Graphviz is C code with global
state: here it can neither meet another thread nor take a web server down.

The document: `{"do": "lay out", "pieces": [{"boxes": {name: [width, height]}, "edges": [[tail,
head], …], "clusters": {name: [names of boxes]}}, …]}` gives a JSON list of `{"size", "boxes":
{name: [left, top]}, "edges": [[tail, head, [[x, y], …]], …], "clusters": {name: [left, top, right,
bottom]}}`; the last point of an edge is the tip of its arrow. `{"do": "draw", "format": "png" |
"dot", "attributes": {"graph" | "node" | "edge": {…}}, "nodes": [[name, {attribute: value}], …],
"edges": [[tail, head, {…}], …]}` gives the picture, of nodes that know where they are, or the DOT
text. Values are what Graphviz takes: whoever writes the document escapes (see `builds.pictures`).
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import pygraphviz

MEMORY = 2 * 1024**3  # bytes
CPU_SECONDS = 30

# From so many boxes and edges on a good layout is looked for less long: it would take a minute.
LARGE = 1_200
_QUICKER = {"nslimit": "0.3", "nslimit1": "0.3", "mclimit": "0.1"}
_LAYOUT = {"rankdir": "LR", "nodesep": "0.2", "ranksep": "0.6"}
_BOX = {"shape": "box", "fixedsize": "true", "label": ""}
# An empty label keeps room for the one that we write.
_CLUSTER = {"label": " ", "fontsize": "17", "margin": "12"}
POINTS = 72  # per inch


def limit_resources() -> None:
    """Bound memory and processor time, so that a hard graph ends this program and nothing else."""
    for kind, wanted in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS)):
        _, hard = resource.getrlimit(kind)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, hard))


def lay_out(piece: dict[str, Any]) -> dict[str, Any]:
    """Return where the boxes of a piece stand and its edges run; the origin is left and above."""
    graph = pygraphviz.AGraph(directed=True, strict=True)
    graph.graph_attr.update(_LAYOUT)
    if len(piece["boxes"]) + len(piece["edges"]) > LARGE:
        graph.graph_attr.update(_QUICKER)
    graph.node_attr.update(_BOX)
    for name, (width, height) in piece["boxes"].items():
        graph.add_node(name, width=width / POINTS, height=height / POINTS)
    for tail, head in piece["edges"]:
        graph.add_edge(tail, head)
    for name, boxes in piece["clusters"].items():
        graph.add_subgraph(boxes, name=f"cluster_{name}", **_CLUSTER)
    return _read(json.loads(graph.draw(format="json", prog="dot")), piece)


def _read(found: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    left, bottom, right, top = map(float, found["bb"].split(","))
    names = {part["_gvid"]: part["name"] for part in found["objects"]}
    boxes, clusters = {}, {}
    for part in found["objects"]:
        if part["name"] in piece["boxes"]:
            x, y = map(float, part["pos"].split(","))
            width, height = piece["boxes"][part["name"]]
            boxes[part["name"]] = [x - left - width / 2, top - y - height / 2]
        else:
            x0, y0, x1, y1 = map(float, part["bb"].split(","))
            corners = [x0 - left, top - y1, x1 - left, top - y0]
            clusters[part["name"].removeprefix("cluster_")] = corners
    edges = [
        [names[edge["tail"]], names[edge["head"]], _points(edge["pos"], left, top)]
        for edge in found.get("edges", ())
    ]
    return {
        "size": [right - left, top - bottom],
        "boxes": boxes,
        "edges": edges,
        "clusters": clusters,
    }


def _points(text: str, left: float, top: float) -> list[list[float]]:
    """Return the control points of a spline, its tip last."""
    tip, points = None, []
    for word in text.split():
        marker, _, rest = word.partition(",")
        x, y = map(float, (rest if marker == "e" else word).split(","))
        point = [round(x - left, 1), round(top - y, 1)]
        if marker == "e":
            tip = point
        else:
            points.append(point)
    return [*points, tip or points[-1]]


def draw(document: dict[str, Any]) -> bytes:
    """Return the picture of a document; DOT is not laid out, so that it has no bounds."""
    graph = pygraphviz.AGraph(directed=True, strict=True, encoding="UTF-8")
    graph.graph_attr.update(document["attributes"]["graph"])
    graph.node_attr.update(document["attributes"]["node"])
    graph.edge_attr.update(document["attributes"]["edge"])
    for name, attributes in document["nodes"]:
        graph.add_node(name, **attributes)
    for tail, head, attributes in document["edges"]:
        graph.add_edge(tail, head, **attributes)
    if document["format"] == "dot":
        return str(graph.to_string()).encode()
    picture: bytes = graph.draw(format=document["format"], prog="neato", args="-n2")
    return picture


def main() -> None:
    """Do what the document asks for."""
    document = json.load(sys.stdin)
    if document["do"] == "draw":
        sys.stdout.buffer.write(draw(document))
    else:
        json.dump([lay_out(piece) for piece in document["pieces"]], sys.stdout)


if __name__ == "__main__":
    limit_resources()
    main()
