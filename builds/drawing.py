"""Lays out and draws one graph: a program of its own, the only one that loads Graphviz.

It reads a document as JSON on stdin and writes the picture, or the DOT text, to stdout. Graphviz
is C code with global state: here it can neither meet another thread nor take a web server down.

The document: `{"format": "svg" | "png" | "dot", "graph": {attribute: value}, "node": {…}, "edge":
{…} (the defaults), "nodes": [[name, {attribute: value}], …], "edges": [[tail, head], …]}`. Values
are what Graphviz takes: whoever writes the document escapes (see `builds.graphs`).
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import pygraphviz

MEMORY = 2 * 1024**3  # bytes
CPU_SECONDS = 30


def limit_resources() -> None:
    """Bound memory and processor time, so that a hard graph ends this program and nothing else."""
    for kind, wanted in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_SECONDS)):
        _, hard = resource.getrlimit(kind)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, hard))


def draw(document: dict[str, Any]) -> bytes:
    """Return the picture of a document; DOT is not laid out, so that it has no bounds."""
    graph = pygraphviz.AGraph(directed=True, strict=True, encoding="UTF-8")
    graph.graph_attr.update(document["graph"])
    graph.node_attr.update(document["node"])
    graph.edge_attr.update(document["edge"])
    for name, attributes in document["nodes"]:
        graph.add_node(name, **attributes)
    for tail, head in document["edges"]:
        graph.add_edge(tail, head)
    if document["format"] == "dot":
        return str(graph.to_string()).encode()
    picture: bytes = graph.draw(format=document["format"], prog="dot")
    return picture


if __name__ == "__main__":
    limit_resources()
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))
