"""The colours of a graph in a file, which no style sheet gives it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from builds.layouts import Sketch

# Background, text.
GOOD = ("#dafbe1", "#1a7f37")
BAD = ("#ffebe9", "#b3261e")
LATE = ("#fff3cd", "#7d5200")
QUIET = ("#eaeef2", "#57606a")
BUSY = "#0a5ea8"
COLOURS = {"success": GOOD, "failed": BAD, "outdated": LATE, "not_built": QUIET}
LINES = "#6e7781"

BAR_CLASSES = "jc-group-bar jc-group-bar-"
"""Of a part of a group's bar, before the name of its state."""

_SIZES = {"jc-of-title": "13", "jc-of-id": "11", "jc-of-state": "11", "jc-of-group": "14"}


def paint(root: ET.Element, sketch: Sketch) -> None:
    """Give a file the colours and sizes that the style sheet gives to a page."""
    for whole in root.iter("g"):
        box = sketch.boxes.get(whole.get("data-node", ""))
        background, colour = ("#f6f8fa", QUIET[1])
        if box is not None and box.node is not None:
            background, colour = COLOURS.get(box.node.status, QUIET)
        is_running = "jc-node-running" in whole.get("class", "")
        is_edge = whole.get("class") == "jc-edge"
        for part in whole.iter():
            if part.tag == "text":
                part.set("font-size", _SIZES[part.get("class", "")])
                part.set("fill", LINES if is_edge else colour)
            elif part.tag == "rect":
                state = part.get("class", "").removeprefix(BAR_CLASSES).replace("-", "_")
                is_bar = part.get("class", "").startswith(BAR_CLASSES)
                part.set("fill", COLOURS.get(state, QUIET)[1] if is_bar else background)
                part.set("stroke", "none" if is_bar else BUSY if is_running else colour)
                chosen = box is not None and box.node is not None and box.node.is_chosen
                part.set("stroke-width", "3" if chosen else "1")
            elif part.tag in ("path", "polygon"):
                part.set("stroke", LINES)
                part.set("fill", "none" if part.tag == "path" else LINES)
