"""The picture of a graph on a page that is open: the whole of it, or the states alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from django.utils.safestring import SafeString

from builds import pictures
from builds.graphs import Graph

NAMES_GIVEN = 2_000  # jobs of folded groups that the browser can look for by itself

_HTML = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


def picture_part(graph: Graph, asked: QueryDict, *, instead: str = "") -> dict[str, Any]:
    """Return the picture for a page, or what to say in its place; `instead` tells what else to do.

    An open page has the picture already, as it tells by `drawn`, and is given the states alone.
    """
    if not graph.nodes:
        return {}
    try:
        found = pictures.picture(graph)
    except pictures.NoPicture as error:
        return {"no_picture": f"{error} {instead}".strip()}
    data = {"states": found.states, "names": _names(graph)}
    text = json.dumps(data, separators=(",", ":")).translate(_HTML)
    parts = {"shape": graph.shape, "states": SafeString(text)}
    if asked.get("drawn") == graph.shape:
        return {**parts, "is_drawn": True}
    return {**parts, "svg": SafeString(found.svg)}


def _names(graph: Graph) -> Mapping[str, list[str]] | None:
    """Return the names of the jobs in folded groups, to be looked for; None where they are many."""
    folded = {f"g{i}": group.key for i, group in enumerate(graph.groups) if group.is_folded}
    if sum(len(graph.members[key]) for key in folded.values()) > NAMES_GIVEN:
        return None
    return {
        name: [f"{node.label[:200]}\n{node.id}" for node in graph.members[key]]
        for name, key in folded.items()
    }
