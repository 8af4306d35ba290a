"""The graph of jobs as a pure structure: `{job: [the jobs it depends on]}`.

Names that are no key of the graph are ignored: unknown jobs are reported elsewhere. Nothing here
recurses, so that a chain of any length is fine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from jobcontrol.exceptions import JobControlException

Graph = Mapping[str, Sequence[str]]

# Far more cycles than this can hide in a small graph; whoever sees these mends the file first.
MAX_CYCLES = 100
MAX_NAMES = 50


class CycleError(JobControlException):
    """A graph that must have no cycle has one; `cycle` names its jobs in order."""

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = list(cycle)
        super().__init__(f"the jobs depend on each other in a circle: {format_cycle(cycle)}")


def format_cycle(cycle: Sequence[str]) -> str:
    """Return `a → b → a`; of a very long cycle only the beginning and its length."""
    shown = list(cycle[:MAX_NAMES])
    if len(cycle) > MAX_NAMES:
        shown.append(f"… ({len(cycle) - MAX_NAMES:,} more)")
    return " → ".join([*shown, cycle[0]])


def find_cycles(graph: Graph) -> list[list[str]]:
    """Return cycles, each in the order "depends on", that together cover all cyclic edges.

    At most `MAX_CYCLES`. Each cycle begins with its first job in the order of the graph.
    """
    order = {name: index for index, name in enumerate(graph)}
    cycles: list[list[str]] = []
    for component in _cyclic_components(graph):
        covered: set[tuple[str, str]] = set()
        for start in sorted(component, key=order.__getitem__):
            for follower in graph[start]:
                if follower not in component or (start, follower) in covered:
                    continue
                if len(cycles) == MAX_CYCLES:
                    return cycles
                cycle = [start, *_shortest_path(graph, follower, start, component)[:-1]]
                covered.update(zip(cycle, [*cycle[1:], start], strict=True))
                first = min(range(len(cycle)), key=lambda index: order[cycle[index]])
                cycles.append(cycle[first:] + cycle[:first])
    return cycles


def topological_order(graph: Graph) -> list[str]:
    """Return all jobs, each after everything it depends on, else in the order of the graph.

    Raises `CycleError`.
    """
    order: list[str] = []
    done: set[str] = set()
    opened: set[str] = set()
    for root in graph:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in done:
                stack.pop()
                continue
            waiting = [dep for dep in graph[name] if dep in graph and dep not in done]
            if name in opened and waiting:
                raise CycleError(find_cycles(graph)[0])
            opened.add(name)
            if waiting:
                stack.extend(reversed(waiting))
            else:
                stack.pop()
                done.add(name)
                order.append(name)
    return order


def ancestors(graph: Graph, name: str) -> list[str]:
    """Return everything that `name` depends on, direct or not, nearest first, without itself."""
    return reachable(graph, [name])[1:]


def descendants(graph: Graph, name: str) -> list[str]:
    """Return everything that depends on `name`, direct or not, nearest first, without itself."""
    return reachable(reverse(graph), [name])[1:]


def reachable(graph: Graph, starts: Iterable[str], steps: int | None = None) -> list[str]:
    """Return `starts` and all that is reached from them along the edges, nearest first.

    With `steps`, only what so many edges lead to.
    """
    seen = dict.fromkeys(starts, 0)
    queue = deque(seen)
    while queue:
        name = queue.popleft()
        if seen[name] == steps:
            break
        for follower in graph.get(name, ()):
            if follower in graph and follower not in seen:
                seen[follower] = seen[name] + 1
                queue.append(follower)
    return list(seen)


def reverse(graph: Graph) -> dict[str, list[str]]:
    """Return `{job: [the jobs that depend on it]}`, each in the order of the graph."""
    users: dict[str, list[str]] = {name: [] for name in graph}
    for name, deps in graph.items():
        for dep in dict.fromkeys(deps):
            if dep in users:
                users[dep].append(name)
    return users


def _shortest_path(graph: Graph, start: str, end: str, within: Iterable[str]) -> list[str]:
    """Return the jobs from `start` to `end`, both included; there must be a path `within`."""
    allowed = set(within)
    came_from: dict[str, str | None] = {start: None}
    queue = deque([start])
    while end not in came_from:
        name = queue.popleft()
        for follower in graph[name]:
            if follower in allowed and follower not in came_from:
                came_from[follower] = name
                queue.append(follower)
    path: list[str] = []
    step: str | None = end
    while step is not None:
        path.append(step)
        step = came_from[step]
    return path[::-1]


def _cyclic_components(graph: Graph) -> list[set[str]]:
    """Return the strongly connected components that hold a cycle, in the order of the graph.

    Kosaraju's two passes: finish order along the edges, then gather along the reversed edges.
    """
    users = reverse(graph)
    gathered: set[str] = set()
    components: list[set[str]] = []
    for root in reversed(_finish_order(graph)):
        if root in gathered:
            continue
        component = {root}
        stack = [root]
        while stack:
            for user in users[stack.pop()]:
                if user not in gathered and user not in component:
                    component.add(user)
                    stack.append(user)
        gathered |= component
        if len(component) > 1 or root in graph[root]:
            components.append(component)
    order = {name: index for index, name in enumerate(graph)}
    return sorted(components, key=lambda component: min(order[name] for name in component))


def _finish_order(graph: Graph) -> list[str]:
    finished: list[str] = []
    seen: set[str] = set()
    for root in graph:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(graph[root]))]
        while stack:
            name, followers = stack[-1]
            following = next((f for f in followers if f in graph and f not in seen), None)
            if following is None:
                stack.pop()
                finished.append(name)
            else:
                seen.add(following)
                stack.append((following, iter(graph[following])))
    return finished
