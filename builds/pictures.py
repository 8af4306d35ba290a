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
from pathlib import Path

from builds import svg
from builds.graphs import MAX_EDGES, MAX_NODES, Graph
from jobcontrol.exceptions import JobControlException

CONTENT_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "dot": "text/vnd.graphviz; charset=utf-8",
}
DRAWING_SECONDS = 20  # one picture; and so long does another request wait for its turn
CACHE_BYTES = 32 * 1024**2  # per process

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
# One drawing at a time: each takes a processor for as long as it lasts.
_drawing = threading.Lock()


def picture(graph: Graph, file_format: str, *, base: str) -> bytes:
    """Return a file to take away; `base` (scheme and host) makes its links whole.

    Raises NoPicture where it would be too large or can't be drawn; DOT there always is.
    """
    if file_format != "svg":
        links_base = base if file_format == "dot" else ""  # a PNG has no links
        return _drawn(graph, file_format, links_base)
    return _kept(
        ("file", graph.digest, base),
        lambda: svg.file(_drawn(graph, "svg"), graph, base=base).encode(),
    )


def inline_svg(graph: Graph) -> str:
    """Return the picture as an element that the style sheet colours. Raises NoPicture."""
    inline = _kept(
        ("inline", graph.digest), lambda: svg.inline(_drawn(graph, "svg"), graph).encode()
    )
    return inline.decode()


def _kept(key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
    found = cache.get(key)
    if found is None:
        found = make()
        cache.put(key, found)
    return found


def _drawn(graph: Graph, file_format: str, base: str = "") -> bytes:
    """Return what Graphviz makes of the graph; who asks while it is drawn waits for that."""
    key = (file_format, graph.digest, base)
    found = cache.get(key)
    if found is not None:
        return found
    if file_format != "dot" and not graph.is_drawable:
        raise NoPicture(
            f"{len(graph.nodes):,} jobs with {len(graph.edges):,} dependencies are too many for a "
            f"picture (at most {MAX_NODES} and {MAX_EDGES:,} are drawn). "
            "Choose a tag, open the graph of one job, or take the .dot file to a program of yours."
        )
    document = json.dumps(graph.document(file_format, base=base)).encode()
    if not _drawing.acquire(timeout=DRAWING_SECONDS):
        raise NoPicture("Other graphs are being drawn; try again in a moment.")
    try:
        return _kept(key, lambda: _run(document))
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
