import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.graph import (
    CycleError,
    ancestors,
    descendants,
    find_cycles,
    format_cycle,
    reverse,
    topological_order,
)

NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4))
DIAMOND = {"d": ["b", "c"], "b": ["a"], "c": ["a", "a", "unknown"], "a": [], "alone": []}


def test_order_puts_dependencies_first() -> None:
    assert topological_order(DIAMOND) == ["a", "b", "c", "d", "alone"]


def test_ancestors_and_descendants_are_nearest_first() -> None:
    assert ancestors(DIAMOND, "d") == ["b", "c", "a"]
    assert descendants(DIAMOND, "a") == ["b", "c", "d"]
    assert ancestors(DIAMOND, "alone") == []


def test_users_of_a_job_are_in_the_order_of_the_graph() -> None:
    assert reverse(DIAMOND)["a"] == ["b", "c"]


def test_cycles_are_named_in_order_from_the_first_job() -> None:
    graph = {"x": ["b"], "a": ["c"], "b": ["a"], "c": ["b"], "own": ["own"]}
    assert find_cycles(graph) == [["a", "c", "b"], ["own"]]
    assert format_cycle(["a", "c", "b"]) == "a → c → b → a"


def test_every_cycle_of_a_knot_is_found() -> None:
    assert find_cycles({"a": ["b"], "b": ["a", "c"], "c": ["b"]}) == [["a", "b"], ["b", "c"]]


def test_a_cycle_has_no_order() -> None:
    with pytest.raises(CycleError, match="a → b → a") as caught:
        topological_order({"a": ["b"], "b": ["a"]})
    assert caught.value.cycle == ["a", "b"]


def test_a_very_long_cycle_is_shortened_in_messages() -> None:
    text = format_cycle([f"job{n}" for n in range(1000)])
    assert text.startswith("job0 → job1")
    assert text.endswith("… (950 more) → job0")


def test_a_chain_of_any_length_needs_no_recursion() -> None:
    size = 20_000
    chain = {f"{n}": [f"{n + 1}"] for n in range(size)}
    chain[f"{size}"] = []
    assert topological_order(chain)[0] == f"{size}"
    assert len(ancestors(chain, "0")) == size
    assert find_cycles(chain) == []
    chain[f"{size}"] = ["0"]
    assert [len(cycle) for cycle in find_cycles(chain)] == [size + 1]


@settings(deadline=None)
@given(GRAPHS)
def test_cycles_and_order_agree(graph: dict[str, list[str]]) -> None:
    cycles = find_cycles(graph)
    for cycle in cycles:
        assert len(set(cycle)) == len(cycle)
        for name, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert following in graph[name]
    on_cycles = {name for name in graph if name in _reached(graph, name)}
    assert {name for cycle in cycles for name in cycle} == on_cycles
    if cycles:
        with pytest.raises(CycleError):
            topological_order(graph)
    else:
        order = topological_order(graph)
        assert sorted(order) == sorted(graph)
        for name, deps in graph.items():
            for dep in deps:
                assert dep not in graph or order.index(dep) < order.index(name)


@settings(deadline=None)
@given(GRAPHS, NAMES, NAMES)
def test_descendants_mirror_ancestors(graph: dict[str, list[str]], one: str, other: str) -> None:
    if one in graph and other in graph:
        assert (one in ancestors(graph, other)) == (other in descendants(graph, one))


def _reached(graph: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = [start]
    while pending:
        for name in graph.get(pending.pop(), []):
            if name in graph and name not in found:
                found.add(name)
                pending.append(name)
    return found
