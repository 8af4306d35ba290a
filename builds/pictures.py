"""Pictures of the dependency graph: drawn in a process of their own, kept by content."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from builds import svg, svg_colours
from builds.graphs import MAX_EDGES, MAX_NODES, Graph, Node, one_line
from builds.layouts import Box, Corners, Layout, Sketch
from jobcontrol.exceptions import JobControlException

CONTENT_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "dot": "text/vnd.graphviz; charset=utf-8",
}
DRAWING_SECONDS = 20  # one picture; and so long does another request wait for its turn
CACHE_BYTES = 32 * 1024**2  # per process
LAYOUTS_KEPT = 20  # the largest has some megabytes

# By its path and not as a module: then it needs nothing of ours, and no setting.
_PROGRAM = Path(__file__).with_name("drawing.py")
# What a program needs to start and to find fonts: none of the site's secrets.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH"),
    *("FONTCONFIG_PATH", "FONTCONFIG_FILE", "XDG_CACHE_HOME", "XDG_DATA_DIRS"),
)

logger = logging.getLogger(__name__)


class NoPicture(JobControlException):
    """There is no picture of the graph; the message says why and what to do."""


class Cache:
    """The pictures used last, bounded by their size; threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> bytes | None:
        """Return what was kept under `key`, if it still is."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, ...], content: bytes) -> None:
        """Keep `content`, and let go of what was not used for longest."""
        if len(content) > self._limit:
            return
        with self._lock:
            self._size += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._size > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._size = 0


cache = Cache(CACHE_BYTES)
# Layouts as values, by the shape of the graph: a page of 500 jobs takes a few milliseconds then.
_laid_out: OrderedDict[str, tuple[Layout, svg.Skeleton]] = OrderedDict()
_laid_out_lock = threading.Lock()
# One drawing at a time: each takes a processor for as long as it lasts.
_drawing = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A graph that was laid out."""

    graph: Graph
    sketch: Sketch
    layout: Layout

    skeleton: svg.Skeleton

    @property
    def svg(self) -> str:
        """The picture as an element that the style sheet colours."""
        return self.skeleton.filled(self.states)

    @cached_property
    def states(self) -> dict[str, dict[str, Any]]:
        """What of it changes while jobs run, by the names of its parts."""
        return svg.states(self.graph, self.sketch, self.layout)


def picture(graph: Graph) -> Picture:
    """Return the graph laid out, once for all states of its jobs. Raises NoPicture."""
    kept = _laid_out.get(graph.shape)
    if kept is None:
        kept = _lay_out(graph)
        with _laid_out_lock:
            _laid_out[graph.shape] = kept
            while len(_laid_out) > LAYOUTS_KEPT:
                _laid_out.popitem(last=False)
    layout, skeleton = kept
    return Picture(graph, Sketch.of(graph), layout, skeleton)


def forget() -> None:
    """Draw everything anew."""
    cache.clear()
    with _laid_out_lock:
        _laid_out.clear()


def _lay_out(graph: Graph) -> tuple[Layout, svg.Skeleton]:
    sketch = Sketch.of(graph)
    if not sketch.is_drawable:
        raise NoPicture(
            f"{len(sketch.boxes):,} jobs with {len(sketch.arrows):,} dependencies are too many for "
            f"a picture (at most {MAX_NODES:,} and {MAX_EDGES:,} are drawn). "
            "Choose a tag, open the graph of one job, or take the .dot file to a program of yours."
        )
    pieces = sketch.pieces()
    documents = [piece.document() for piece in pieces]
    laid_out = []
    if pieces:
        document = {"do": "lay out", "pieces": documents}
        laid_out = json.loads(_in_turn(("layout", graph.shape), lambda: document))
    layout = Layout.of(sketch, pieces, laid_out)
    return layout, svg.Skeleton.of(graph, sketch, layout)


def file(graph: Graph, file_format: str, *, base: str) -> bytes:
    """Return a file to take away; `base` (scheme and host) makes its links whole.

    Raises NoPicture where it would be too large or can't be drawn; DOT there always is.
    """
    key = (file_format, graph.digest, base)
    if file_format == "dot":
        return _in_turn(key, lambda: _dot(graph, base))
    if file_format == "svg":
        return _kept(key, lambda: _svg(graph, base))
    return _in_turn(key, lambda: _pixels(picture(graph)))


def _svg(graph: Graph, base: str) -> bytes:
    laid_out = picture(graph)
    return svg.file(graph, laid_out.sketch, laid_out.layout, base=base).encode()


def _kept(key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
    found = cache.get(key)
    if found is None:
        found = make()
        cache.put(key, found)
    return found


def _in_turn(key: tuple[str, ...], document: Callable[[], dict[str, Any]]) -> bytes:
    """Return what Graphviz makes of a document; who asks while it is drawn waits for that."""
    found = cache.get(key)
    if found is not None:
        return found
    content = json.dumps(document()).encode()  # for which something else may have to be drawn
    if not _drawing.acquire(timeout=DRAWING_SECONDS):
        raise NoPicture("Other graphs are being drawn; try again in a moment.")
    try:
        return _kept(key, lambda: _run(content))
    finally:
        _drawing.release()


def _run(document: bytes) -> bytes:
    """Run the program that draws; however it ends, this process goes on."""
    command = [sys.executable, "-P", str(_PROGRAM)]
    env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        result = subprocess.run(  # noqa: S603 - our own program
            command,
            check=False,
            input=document,
            capture_output=True,
            env=env,
            timeout=DRAWING_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise NoPicture(
            f"The graph could not be drawn within {DRAWING_SECONDS} seconds: it is too large. "
            "Choose a tag, open the graph of one job, or take the .dot file."
        ) from error
    except OSError as error:
        logger.exception("the program that draws graphs can't be started")
        raise NoPicture("The graph could not be drawn; the site's log says why.") from error
    if result.returncode or not result.stdout:
        said = result.stderr.decode("utf-8", "replace")[-2_000:]
        logger.error("drawing a graph ended with %s: %s", result.returncode, said)
        raise NoPicture("The graph could not be drawn; the site's log says why.")
    return result.stdout


# --- Documents of files (see builds.drawing) ------------------------------------------------------

_NODE = {"shape": "box", "style": "rounded,filled", "fontname": "sans-serif", "fontsize": "11"}
_EDGE = {"color": svg_colours.LINES, "arrowsize": "0.7"}
# Inches: a picture of pixels must fit into memory, here and at the reader's.
_PIXELS = {"size": "110,110", "dpi": "72", "bgcolor": "white", "outputorder": "edgesfirst"}
_DOT = {"rankdir": "LR", "nodesep": "0.25", "ranksep": "0.6", "bgcolor": "white"}


def _dot(graph: Graph, base: str) -> dict[str, Any]:
    """Return the whole graph for a program of the reader's, whatever is folded in the picture.

    The first node is named `n0`, and so on: a name of Graphviz's can't be just any text.
    """
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    nodes = [
        [
            names[node.id],
            {
                **_look(node),
                "job": one_line(node.id),
                "tooltip": _escaped(node.description).replace("\n", "\\n"),
                "URL": _escaped(base + node.url),
            },
        ]
        for node in graph.nodes
    ]
    return {
        "do": "draw",
        "format": "dot",
        "attributes": {"graph": _DOT, "node": _NODE, "edge": _EDGE},
        "nodes": nodes,
        "edges": [[names[tail], names[head], {}] for tail, head in graph.edges],
    }


def _pixels(laid_out: Picture) -> dict[str, Any]:
    """Return the picture as it stands on the page."""
    sketch, layout = laid_out.sketch, laid_out.layout
    height = layout.size[1]
    nodes = [
        [name, {**_place(layout.frames[name], height), **_frame_look(sketch.groups[name].label)}]
        for name in layout.frames
    ]
    nodes += [
        [name, {**_place(corners, height), **_box_look(sketch.boxes[name], laid_out)}]
        for name, corners in layout.boxes.items()
    ]
    edges = []
    for (tail, head), points in layout.arrows.items():
        shown = [f"{x:.1f},{height - y:.1f}" for x, y in points]
        edges.append([tail, head, {"pos": f"e,{shown[-1]} {' '.join(shown[:-1])}"}])
    return {
        "do": "draw",
        "format": "png",
        "attributes": {"graph": _PIXELS, "node": _NODE, "edge": _EDGE},
        "nodes": nodes,
        "edges": edges,
    }


def _place(corners: Corners, height: float) -> dict[str, str]:
    left, top, right, bottom = corners
    return {
        "pos": f"{(left + right) / 2:.1f},{height - (top + bottom) / 2:.1f}",
        "width": f"{(right - left) / 72:.3f}",
        "height": f"{(bottom - top) / 72:.3f}",
        "fixedsize": "true",
    }


def _box_look(box: Box, laid_out: Picture) -> dict[str, str]:
    if box.node is not None:
        return _look(box.node)
    group = laid_out.sketch.groups[box.name]
    counts = laid_out.graph.counts[group.key]
    return {"label": _label([group.label[:60], counts.size, *counts.parts]), "fillcolor": "white"}


def _frame_look(label: str) -> dict[str, str]:
    words = _label([label[:60]])
    return {"label": words, "labelloc": "t", "style": "rounded", "color": svg_colours.LINES}


def _look(node: Node) -> dict[str, str]:
    background, colour = svg_colours.COLOURS.get(node.status, svg_colours.QUIET)
    found = {
        "label": _label([*node.lines, " · ".join(node.states)]),
        "fillcolor": background,
        "fontcolor": colour,
        "color": svg_colours.BUSY if node.running else colour,
        "penwidth": "3" if node.is_chosen else "1",
    }
    return found | ({"style": "rounded,filled,dashed"} if node.retired else {})


def _label(lines: list[str]) -> str:
    """Return lines of a label; where the last is a state no text ends in `>`.

    Graphviz would take a text within `<` and `>` for markup: a blank before it makes it plain.
    """
    return " " + "\\n".join(_escaped(one_line(line)) for line in lines)


def _escaped(text: str) -> str:
    """Return `text` as Graphviz writes it: no escape of its own and no entity in it."""
    return text.replace("&", "&amp;").replace("\\", "\\\\")
