"""Where boxes and arrows of a graph stand: nothing overlaps or is left out, always the same."""

from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builds import pictures
from builds.graphs import Counts, Graph, Group, Node
from builds.layouts import Sketch
from builds.letters import fitting, width, wrapped
from builds.packing import grid, packed

SIZES = st.lists(st.tuples(st.floats(1, 2_000), st.floats(1, 2_000)), max_size=40)
KEYS = ("x", "y", "z")
STATES = ("success", "failed", "outdated", "not_built")


def overlaps(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(SIZES)
def test_packed_rectangles_do_not_overlap_and_lie_within_what_is_told(sizes):
    places, (width, height) = packed(sizes, 10)
    found = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(places, sizes, strict=True)]
    assert not any(overlaps(*pair) for pair in combinations(found, 2))
    assert all(x >= 0 and y >= 0 for x, y in places)
    assert all(right <= width + 1e-6 and low <= height + 1e-6 for _, _, right, low in found)
    assert packed(sizes, 10)[0] == places


def test_many_small_pieces_fill_a_page_and_no_column():
    places, (width, height) = packed([(200, 60)] * 120, 14)
    assert width > height
    assert len({y for _, y in places}) < 20
    _, (width, height) = grid(120, (200, 60), 14)
    assert width > height


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    keys = draw(st.lists(st.sampled_from([*KEYS, None]), min_size=count, max_size=count))
    states = draw(st.lists(st.sampled_from(STATES), min_size=count, max_size=count))
    nodes = [
        Node(id=f"job {i}", status=states[i], group=keys[i], url=f"/{i}/") for i in range(count)
    ]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    uses = [(f"job {a}", f"job {b}") for a, b in draw(st.lists(pairs, max_size=25)) if a < b]
    folded = draw(st.sets(st.sampled_from(KEYS)))
    return Graph.of(nodes, uses, [Group(key, key, key in folded) for key in KEYS])


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_every_job_and_arrow_is_drawn_once_and_no_box_lies_on_another(graph):
    drawn = pictures.picture(graph)
    sketch, layout = drawn.sketch, drawn.layout
    assert set(layout.boxes) == set(sketch.boxes)
    assert set(layout.arrows) == set(sketch.arrows)
    assert not any(overlaps(*pair) for pair in combinations(layout.boxes.values(), 2))
    assert not any(overlaps(*pair) for pair in combinations(layout.frames.values(), 2))
    for frame, corners in layout.frames.items():
        for name, box in layout.boxes.items():
            is_within = name in sketch.frames[frame]
            assert overlaps(box, corners) == is_within
    # What a folded group hides inside is no arrow; all others are told of.
    place = {node.id: node.group for node in graph.nodes}
    folded = {group.key for group in graph.groups if group.is_folded}
    shown = sorted(pair for pairs in sketch.arrows.values() for pair in pairs)
    assert shown == sorted(
        (a, b) for a, b in graph.edges if not (place[a] == place[b] and place[a] in folded)
    )
    pictures.forget()
    assert pictures.picture(graph).svg == drawn.svg
    root = ET.fromstring(drawn.svg)
    names = [one.get("data-node") for one in root.iter() if one.get("data-node")]
    assert sorted(names) == sorted([*sketch.boxes, *sketch.frames])


def test_jobs_without_arrows_stand_in_rows_also_within_a_group():
    nodes = [Node(id=f"{i}", group="x") for i in range(40)]
    for groups in ([], [Group("x", "x")]):
        boxes = pictures.picture(Graph.of(nodes, [], groups)).layout.boxes
        assert len({left for left, *_ in boxes.values()}) > 3
        assert len({top for _, top, *_ in boxes.values()}) > 3


def test_what_runs_first_stands_left_of_what_uses_it():
    ids = [f"{i}" for i in range(6)]
    graph = Graph.of([Node(id=i) for i in ids], zip(ids, ids[1:], strict=False))
    lefts = [corners[0] for corners in pictures.picture(graph).layout.boxes.values()]
    assert lefts == sorted(set(lefts))


def test_arrows_between_a_group_and_a_job_are_one_with_their_number():
    nodes = [Node(id=i, group="x" if i in "ab" else None) for i in "abc"]
    graph = Graph.of(nodes, [("a", "b"), ("a", "c"), ("b", "c")], [Group("x", "x", True)])
    assert Sketch.of(graph).arrows == {("g0", "n2"): [("a", "c"), ("b", "c")]}
    svg = pictures.picture(graph).svg
    assert "<title>c needs a\nc needs b</title>" in svg
    assert ">2</text>" in svg


def test_a_group_counts_the_states_of_its_jobs_what_needs_somebody_first():
    states = ["success", "success", "failed", "not_built"]
    counts = Counts.of(Node(id=str(i), status=s, running=i == 0) for i, s in enumerate(states))
    assert counts.size == "4 jobs"
    assert counts.parts == ["✕ 1 failed", "○ 1 not built", "✓ 2 success", "▶ 1 running"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("one two three fourteen", ["one two", "three four…"]),
        ("x" * 30, ["x" * 10, "x" * 9 + "…"]),
        ("W" * 30, ["W" * 6, "W" * 5 + "…"]),
        ("é" * 30, ["é" * 9, "é" * 8 + "…"]),
        ("i" * 17, ["i" * 17]),
        ("日本語日本語日", ["日本語日本語", "日"]),
        ("", []),
    ],
)
def test_titles_are_wrapped_by_the_width_of_their_letters(text, lines):
    assert wrapped(text, 7.0, 2, bold=True) == lines


@given(st.text(max_size=60), st.floats(1, 20), st.booleans())
def test_what_is_cut_fits(text, room, bold):
    cut = fitting(text, room, bold=bold)
    assert width(cut, bold=bold) <= room
    assert cut == text or text.startswith(cut.removesuffix("…"))


def test_capitals_are_wide_and_marks_are_not():
    assert width("WWW", bold=True) > 2.5 * width("iii", bold=True)
    assert width("e\u0301") == width("é") == width("e")
