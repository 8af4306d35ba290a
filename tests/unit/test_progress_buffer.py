"""Reports of progress in memory: the newest of each path, bounded, in order of appearance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builds import progress
from builds.progress import Node, Pace, ProgressBuffer, row_values
from jobs.redaction import Redactor

NOTHING = Redactor({})


def test_the_newest_report_of_a_path_is_taken_once():
    buffer = ProgressBuffer()
    buffer.report(("b",), 1, 2)
    buffer.report(("a",), 1, 2)
    buffer.report(("b",), 2, 2, "done")
    assert buffer.take() == [Node(("b",), 2, 2, "done", 0), Node(("a",), 1, 2, "", 1)]
    assert buffer.take() == []
    buffer.report(("a",), 2, 2)
    assert buffer.take() == [Node(("a",), 2, 2, "", 1)]


def test_a_report_put_back_does_not_beat_a_newer_one():
    buffer = ProgressBuffer()
    buffer.report(("a",), 1, 9)
    buffer.report(("b",), 1, 9)
    taken = buffer.take()
    buffer.report(("a",), 5, 9)
    buffer.give_back(taken)
    assert sorted(buffer.take(), key=lambda node: node.position) == [
        Node(("a",), 5, 9, "", 0),
        Node(("b",), 1, 9, "", 1),
    ]


def test_too_many_paths_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(progress, "MAX_NODES", 3)
    buffer = ProgressBuffer()
    for number in range(5):
        buffer.report((str(number),), 1, 2)
    buffer.report(("0",), 2, 2)
    assert [node.path for node in buffer.take()] == [("0",), ("1",), ("2",)]
    assert buffer.dropped == 2


@pytest.mark.parametrize(
    "number", [1.0, 1.5, "1", None, b"1"], ids=["float", "half", "text", "None", "bytes"]
)
def test_numbers_that_are_no_integers_are_a_type_error(number):
    """original #27"""
    buffer = ProgressBuffer()
    for pair in ((number, 1), (1, number)):
        with pytest.raises(TypeError, match="must be an integer"):
            buffer.report(None, *pair)
    assert buffer.take() == []


@pytest.mark.parametrize("path", ["text", 5, {"a"}, {"a": 1}, b"x"])
def test_what_is_no_path_is_a_type_error(path):
    """original #27"""
    with pytest.raises(TypeError, match="tuple of names"):
        ProgressBuffer().report(path, 1, 2)


def test_rows_fit_their_columns():
    node = Node(("x" * 5_000,), 1, 2, "s" * 5_000, 7)
    row = row_values(node, NOTHING)
    assert len(row["group_name"]) < progress.MAX_NAME_CHARS + 10
    assert len(row["status_line"]) <= progress.MAX_STATUS_CHARS
    assert (row["current"], row["total"], row["position"]) == (1, 2, 7)
    buffer = ProgressBuffer()
    buffer.report(tuple("x" * 500), 10**30, -(10**30), None)
    (node,) = buffer.take()
    assert (node.current, node.total, node.status_line) == (2**63 - 1, -(2**63 - 1), "")
    assert len(node.path) == progress.MAX_PATH_DEPTH


def test_names_and_lines_are_masked_before_they_are_cut():
    secrets = Redactor({"token": "hunter22-hunter22"})
    token = "hunter22-hunter22" + "." * 100
    for before in range(100):
        name = "n" * (progress.MAX_NAME_CHARS - before) + token
        line = "s" * (progress.MAX_STATUS_CHARS - before) + token
        row = row_values(Node((name,), 1, 2, line, 0), secrets)
        assert "hunter" not in row["group_name"]
        assert "hunter" not in row["status_line"]


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    return made


def paces(buffer, clock, *steps):
    """Report these numbers, a second apart; return what is known of the pace in the end."""
    for number in steps:
        buffer.report(("a",), number, 100)
        clock.now += 1
    (node,) = buffer.take()
    return node.pace


def test_the_pace_of_a_path_counts_from_its_first_report(clock):
    buffer = ProgressBuffer()
    assert paces(buffer, clock, 3) == Pace(first_current=3, seconds=0, reports=1)
    # What was taken is remembered.
    assert paces(buffer, clock, 4, 5) == Pace(first_current=3, seconds=2, reports=3)
    columns = row_values(Node(("a",), 5, 9, "", 0, Pace(3, 2.0, 3)), NOTHING)
    assert (columns["first_current"], columns["seconds"], columns["reports"]) == (3, 2.0, 3)


def test_a_bar_that_falls_by_more_than_half_begins_anew(clock):
    """A loop that runs once more under the same name."""
    assert paces(ProgressBuffer(), clock, 0, 50, 100, 0, 10) == Pace(0, 1, 2)
    # Threads may report a little out of order.
    assert paces(ProgressBuffer(), clock, 10, 12, 11, 13) == Pace(10, 3, 4)


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=30))
def test_the_pace_is_always_within_what_was_reported(numbers):
    buffer = ProgressBuffer()
    for number in numbers:
        buffer.report(None, number, 1)
    (node,) = buffer.take()
    assert node.pace is not None
    assert 1 <= node.pace.reports <= len(numbers)
    assert node.pace.seconds >= 0
    assert -(2**63) < node.pace.first_current < 2**63
