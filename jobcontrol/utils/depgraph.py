"""Order of dependencies. A graph is a dictionary of `{vertex: [vertices it depends on]}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, overload

from jobcontrol.exceptions import JobControlException


class DepResolutionError(JobControlException):
    """The order can't be found; the text says why."""


class DepLoop(DepResolutionError):  # noqa: N818 - the manual's name
    """Something depends on itself; `loop` names the vertices in order, the first one again last."""

    def __init__(self, loop: Iterable[str] = ()) -> None:
        self.loop = tuple(loop)
        super().__init__("dependencies make a loop: " + " -> ".join(map(repr, self.loop)))


@overload
def resolve_deps(
    graph: Mapping[str, Iterable[str]], start: str, with_weights: Literal[False] = False
) -> list[str]: ...
@overload
def resolve_deps(
    graph: Mapping[str, Iterable[str]], start: str, with_weights: Literal[True]
) -> list[tuple[int, str]]: ...
@overload
def resolve_deps(
    graph: Mapping[str, Iterable[str]], start: str, with_weights: bool
) -> list[str] | list[tuple[int, str]]: ...
def resolve_deps(
    graph: Mapping[str, Iterable[str]], start: str, with_weights: bool = False
) -> list[str] | list[tuple[int, str]]:
    """Return `start` and all it depends on, each after its own dependencies; `start` comes last.

    The weight of a vertex is the length of the longest path to it from `start`; greater weights
    come first, and among equal ones the later name. With `with_weights` the result is a list of
    `(weight, vertex)`. Raises DepLoop, or DepResolutionError for a vertex that the graph lacks.
    """
    weights = {start: 0}
    for vertex in _dependents_first(graph, start):
        for dependency in graph[vertex]:
            weights[dependency] = max(weights.get(dependency, 0), weights[vertex] + 1)
    items = sorted(((weight, vertex) for vertex, weight in weights.items()), reverse=True)
    return items if with_weights else [vertex for _, vertex in items]


def _dependents_first(graph: Mapping[str, Iterable[str]], start: str) -> list[str]:
    """Vertices reachable from `start` in topological order, without recursion."""
    finished: dict[str, None] = {}
    trail: dict[str, Iterator[str]] = {start: _dependencies(graph, start, None)}
    while trail:
        vertex, dependencies = next(reversed(trail.items()))
        following = next(dependencies, None)
        if following is None:
            finished[vertex] = None
            del trail[vertex]
        elif following in trail:
            names = list(trail)
            raise DepLoop([*names[names.index(following) :], following])
        elif following not in finished:
            trail[following] = _dependencies(graph, following, vertex)
    return list(reversed(finished))


def _dependencies(
    graph: Mapping[str, Iterable[str]], vertex: str, dependent: str | None
) -> Iterator[str]:
    if vertex not in graph:
        needed = "" if dependent is None else f", which {dependent!r} depends on"
        raise DepResolutionError(f"the graph has no {vertex!r}{needed}")
    return iter(graph[vertex])
