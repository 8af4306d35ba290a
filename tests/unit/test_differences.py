"""Two texts compared: nothing is lost, nothing is made up, and it takes a bounded time."""

import re
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builds.pages import differences
from builds.pages.comparison_texts import split_arguments
from builds.pages.differences import (
    ADDED,
    COMPARED_LINES,
    CONTEXT,
    FOLD,
    REMOVED,
    SAME,
    difference,
    fold,
    lines_of,
    normalised,
    runs,
    spread,
)

# Few different lines, so that many of them are the same; some odd ones among them.
LINES = st.lists(st.sampled_from(["a", "b", "", " a", "a\r", "\u2028", "- a", "+ b", "x" * 50]))
EDITED = st.tuples(LINES, LINES, LINES, LINES)


def left_with(before, kinds, found):
    """Apply a difference: the lines of its kinds, in order."""
    assert all(run.lines for run in found)
    assert before == [line for run in found if run.kind in kinds for line in run.lines]


@given(LINES, LINES)
def test_the_difference_applied_to_one_text_gives_the_other(before, after):
    found = runs(before, after)
    left_with(before, (SAME, REMOVED), found)
    left_with(after, (SAME, ADDED), found)


@given(EDITED)
def test_what_an_edit_left_alone_is_called_the_same(parts):
    start, old, new, end = parts
    found = runs(start + old + end, start + new + end)
    same = sum(len(run.lines) for run in found if run.kind == SAME)
    assert same >= len(start) + len(end)


@given(LINES, LINES)
def test_folds_hide_no_change_and_lose_no_line(before, after):
    found = runs(before, after)
    folded = fold(found)
    left_with(before, (SAME, FOLD, REMOVED), folded)
    left_with(after, (SAME, FOLD, ADDED), folded)


def test_long_unchanged_stretches_are_folded_but_for_what_is_beside_a_change():
    before = [str(n) for n in range(100)]
    after = [*before[:50], "new", *before[51:]]
    folded = fold(runs(before, after))
    kinds = [(run.kind, len(run.lines)) for run in folded]
    change = [(SAME, CONTEXT), (REMOVED, 1), (ADDED, 1), (SAME, CONTEXT)]
    assert kinds == [(FOLD, 47), *change, (FOLD, 46)]


def test_few_unchanged_lines_are_shown():
    assert [run.kind for run in fold(runs(list("abcdefg"), list("abcdefx")))] == [
        SAME,
        REMOVED,
        ADDED,
    ]


@given(st.text("ab\n\r "), st.text("ab\n\r "))
def test_two_texts_are_equal_only_if_they_are(left, right):
    found = difference(left, right)
    assert found.equal == (left == right)
    assert (found.removed, found.added) == (0, 0) or left != right


@given(st.text("ab\n", max_size=30), st.text("ab\n", max_size=30))
def test_what_is_shown_of_a_difference_is_both_texts(left, right):
    """With the signs off, the lines of the page are those of the texts."""
    shown = {"del": [], "add": []}
    for block in difference(left, right).blocks:
        if block.kind in shown:
            shown[block.kind] += [one.before + one.changed + one.after for one in block.pieces]
        else:
            for some in shown.values():
                some += [line[2:] for line in block.text.split("\n")]
    if left.endswith("\n") and right.endswith("\n"):
        left, right = left[:-1], right[:-1]
    assert shown == {"del": lines_of(left), "add": lines_of(right)}


def test_the_part_of_a_line_that_changed_is_told():
    (removed, added) = difference("currency: EUR of it", "currency: SEK of it").blocks
    (piece,) = removed.pieces
    assert (piece.before, piece.changed, piece.after) == ("currency: ", "EUR", " of it")
    assert added.pieces[0].changed == "SEK"
    (removed, added) = difference("apples", "pears").blocks
    assert (removed.pieces[0].changed, added.pieces[0].changed) == ("", "")


def test_very_long_texts_are_compared_at_their_beginnings():
    same = "x\n" * COMPARED_LINES
    found = difference(f"{same}left\n", f"{same}right\n")
    assert (found.is_cut, found.equal) == (True, True)
    assert not difference("x\n" * (COMPARED_LINES - 1), "x\n").is_cut


def test_a_very_long_line_is_cut_where_it_is_shown():
    (removed, added) = difference("a" * 10_000, "b" * 10_000).blocks
    assert removed.pieces[0].before.endswith("… [8000 more characters]")
    assert len(added.pieces[0].before) < 2_100


@pytest.mark.parametrize("count", [190, 1_990])
def test_lines_that_stand_everywhere_are_no_place_to_begin(count, monkeypatch):
    """difflib's time grows with the cube of how often lines come back."""
    made = []

    class Matcher(SequenceMatcher):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(differences, "SequenceMatcher", Matcher)
    before = ["first", *("x" if n % 2 else "y" for n in range(count)), "last"]
    runs(before, ["x" if n % 3 else "y" for n in range(80)])
    (matcher,) = made
    assert max((len(places) for places in matcher.b2j.values()), default=0) <= differences.OFTEN
    assert len(matcher.b) == len(before)


# --- Values as lines ------------------------------------------------------------------------------


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=90) | st.binary(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(VALUES.map(repr) | st.text("[]{}()'\"\\, ab", max_size=120))
def test_a_value_spread_over_lines_is_the_same_value(text):
    made = spread(text)
    assert re.sub(r"\s", "", made) == re.sub(r"\s", "", text)


def test_each_part_of_a_value_has_a_line():
    made = spread(repr({"a": [1, "x, y [z"], "b": (), "c": "it's", "long": "l" * 80}))
    assert made.split("\n") == [
        "{",
        "  'a': [",
        "    1, ",
        "    'x, y [z'",
        "  ], ",
        "  'b': (), ",
        "  'c': \"it's\", ",
        f"  'long': '{'l' * 80}'",
        "}",
    ]
    assert spread("[1, 2]") == "[1, 2]"
    assert spread("one\n[1, 2]" * 50) == "one\n[1, 2]" * 50


# --- Configurations -------------------------------------------------------------------------------


def test_arguments_are_taken_out_of_a_configuration():
    text = "id: x\nkwargs:\n  a: |-\n    one\n\n    two\nfunction: f:g\nargs:\n- 1\n- args: 2\n"
    assert split_arguments(text) == (
        "args:\n- 1\n- args: 2\nkwargs:\n  a: |-\n    one\n    two",
        "id: x\nfunction: f:g",
    )
    assert split_arguments("") == ("", "")


# --- Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Took 12.5 s", "Took 3 s"),
        ("at 2026-11-24T16:05:41.123+01:00", "at 2027-01-02T03:04:05.9+01:00"),
        ("Mon, 24 Nov 2026 16:05", "Tue, 1 Dec 2026 6:07"),
        ("[24/Nov/2026] x", "[01/May/2026] x"),
        ("<Page at 0x7f01ab>", "<Page at 0x1>"),
        ("id 6f9619ff-8b86-d011-b42d-00cf4fc964ff", "id 00000000-8b86-d011-b42d-00cf4fc964f0"),
        ("commit deadbeef12 of\tit", "commit 1234567890 of it"),
        ("1,234 of 10:00:01", "7 of 3"),
    ],
)
def test_messages_of_two_runs_are_the_same_but_for_numbers_and_times(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a pear", "an apple"), ("May we", "Must we"), ("decade", "facade")]
)
def test_other_messages_are_not(one, other):
    assert normalised(one) != normalised(other)


@given(st.text("aF0x9 -:.,\tNov", max_size=40), st.randoms())
def test_other_digits_are_no_other_message_nor_is_a_message_without_them(text, random):
    digits = re.sub(r"\d", lambda _: random.choice("123456789"), text)
    nines = re.sub(r"\d", "9", text)
    assert normalised(digits) == normalised(nines)
    assert normalised(normalised(text)) == normalised(text)
