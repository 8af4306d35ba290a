import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobcontrol.utils.depgraph import DepLoop, DepResolutionError, resolve_deps


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"A": []}, [(0, "A")]),
        ({"A": ["B", "C"], "B": [], "C": []}, [(1, "C"), (1, "B"), (0, "A")]),
        (
            {"A": ["B", "D"], "B": ["C"], "C": ["D"], "D": []},
            [(3, "D"), (2, "C"), (1, "B"), (0, "A")],
        ),
        (
            {"A": ["D", "B"], "B": ["C"], "C": ["E"], "D": ["E"], "E": []},
            [(3, "E"), (2, "C"), (1, "D"), (1, "B"), (0, "A")],
        ),
        (
            {"A": ["C", "B"], "B": ["C", "C"], "C": [], "unrelated": ["A"]},
            [(2, "C"), (1, "B"), (0, "A")],
        ),
    ],
)
def test_dependencies_come_first_by_the_longest_path(graph, expected):
    assert resolve_deps(graph, "A", with_weights=True) == expected
    assert resolve_deps(graph, "A") == [vertex for _, vertex in expected]


@st.composite
def acyclic_graphs(draw):
    size = draw(st.integers(1, 7))
    names = [str(number) for number in range(size)]
    return {
        name: draw(st.lists(st.sampled_from(names[number + 1 :]), max_size=4))
        if number + 1 < size
        else []
        for number, name in enumerate(names)
    }


def longest_path(graph, start, end):
    if start == end:
        return 0
    below = (longest_path(graph, name, end) for name in graph[start])
    return max((length + 1 for length in below if length is not None), default=None)


@given(acyclic_graphs())
def test_weights_are_longest_paths(graph):
    expected = {
        name: longest_path(graph, "0", name)
        for name in graph
        if longest_path(graph, "0", name) is not None
    }
    result = resolve_deps(graph, "0", with_weights=True)
    assert {name: weight for weight, name in result} == expected
    assert result == sorted(result, reverse=True)


def test_a_loop_is_named_in_order():
    graph = {"A": ["B"], "B": ["C"], "C": ["D"], "D": ["B"]}
    with pytest.raises(DepLoop, match="'B' -> 'C' -> 'D' -> 'B'") as caught:
        resolve_deps(graph, "A")
    assert caught.value.loop == ("B", "C", "D", "B")
    assert isinstance(caught.value, DepResolutionError)


def test_a_vertex_may_not_depend_on_itself():
    with pytest.raises(DepLoop, match="'A' -> 'A'"):
        resolve_deps({"A": ["A"]}, "A")


def test_a_loop_that_start_does_not_reach_is_no_matter():
    assert resolve_deps({"A": [], "B": ["B"]}, "A") == ["A"]


def test_an_unknown_vertex_is_named_with_its_dependent():
    with pytest.raises(DepResolutionError, match="no 'B', which 'A' depends on"):
        resolve_deps({"A": ["B"]}, "A")
    with pytest.raises(DepResolutionError, match="the graph has no 'A'$"):
        resolve_deps({}, "A")


def test_deep_and_tangled_graphs_are_quick():
    chain = {str(n): [str(n + 1)] for n in range(5000)} | {"5000": []}
    assert resolve_deps(chain, "0")[0] == "5000"
    # Each of 60 layers depends on both of the next one: 2 ** 60 paths.
    layers = {
        f"{layer}{side}": [f"{layer + 1}a", f"{layer + 1}b"] if layer < 60 else []
        for layer, side in itertools.product(range(61), "ab")
    }
    assert resolve_deps(layers, "0a", with_weights=True)[0] == (60, "60b")
