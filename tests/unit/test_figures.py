"""The arithmetic of the strip: median, percentile, heights, success rate, trend."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builds.pages.figures import (
    FEWEST,
    HIGHEST,
    LEAST,
    ROOM,
    Scale,
    Trend,
    figures,
    percentile,
    trend,
)

seconds = st.floats(0, 1e7, allow_nan=False)
durations = st.lists(seconds, min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 95, 7.0),
        ([2.0, 1.0], 50, 1.0),
        (list(range(1, 21)), 95, 19),
        (list(range(1, 20)), 95, 19),
        (list(range(1, 101)), 95, 95),
        (list(range(50, 0, -1)), 95, 48),
        ([1.0, 2.0, 3.0], 0, 1.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert percentile(values, percent) == expected


@given(durations, st.integers(0, 100))
def test_so_many_of_a_hundred_are_not_longer_than_a_percentile(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    shorter = [value for value in values if value < found]
    assert not shorter or len(shorter) * 100 < percent * len(values)


@given(durations, st.lists(seconds, max_size=2))
def test_bars_stay_in_the_chart_and_in_their_order(values, lines):
    scale = Scale.of(values, lines)
    heights = [scale.height(value) for value in sorted(values)]
    assert heights == sorted(heights)
    assert LEAST <= heights[0] <= heights[-1] == (HIGHEST if max(values) > 0 else LEAST)
    for value in values:
        assert scale.line(value) + scale.height(value) == HIGHEST
        assert scale.is_cut(value) == (value > scale.top)
        if scale.is_cut(value):
            assert scale.height(value) == HIGHEST
    cut = [value for value in values if scale.is_cut(value)]
    assert len(cut) <= len(values) * 0.05


def test_one_that_takes_very_long_leaves_the_others_room():
    values = [10.0] * 49 + [5_000.0]
    scale = Scale.of(values)
    assert scale.top == 10 * ROOM
    assert scale.height(10) == HIGHEST / ROOM
    assert scale.is_cut(5_000)
    assert not scale.is_cut(15)


def test_a_line_is_never_above_the_chart():
    scale = Scale.of([1.0] * 49 + [100.0], [100.0])
    assert scale.top == 100
    assert scale.line(100) == 0


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [-3.0]])
def test_builds_that_took_no_time_are_seen(values):
    scale = Scale.of(values)
    assert scale.height(0.0) == LEAST
    assert scale.height(-1.0) == LEAST


def test_the_clock_that_was_set_back_makes_no_negative_bar():
    assert Scale.of([-3.0, 10.0]).height(-3.0) == LEAST


def test_figures_of_nothing_say_nothing():
    nothing = figures(succeeded=0, failed=0, cancelled=3, durations=[])
    assert (nothing.decided, nothing.percent) == (0, 0)
    assert (nothing.median, nothing.p95, nothing.timed) == (None, None, 0)


def test_what_was_cancelled_counts_on_neither_side():
    made = figures(succeeded=3, failed=1, cancelled=16, durations=[1.0, 9.0, 2.0])
    assert (made.decided, made.percent) == (4, 75)
    assert (made.median, made.p95, made.timed) == (2.0, 9.0, 3)


@given(st.integers(0, 5_000), st.integers(0, 5_000))
@example(4_999, 1)
@example(1, 4_999)
def test_all_succeeded_only_where_all_did(succeeded, failed):
    percent = figures(succeeded=succeeded, failed=failed, cancelled=0, durations=[]).percent
    assert (percent == 100) == (failed == 0 and succeeded > 0)
    assert (percent == 0) == (succeeded == 0)


def test_the_newest_third_is_compared_with_those_before():
    found = trend([15.0] * 5 + [10.0] * 10)
    assert found == Trend(count=5, lately=15.0, before=10.0)
    assert not found.is_steady
    assert (found.percent, found.change > 0) == (50, True)
    shorter = trend([5.0] * 5 + [10.0] * 10)
    assert shorter is not None
    assert (shorter.percent, shorter.change < 0) == (50, True)
    steady = trend([10.5] * 5 + [10.0] * 10)
    assert steady is not None
    assert steady.is_steady


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * (2 * FEWEST - 1), [5.0] * 4 + [0.0] * 9])
def test_with_too_few_nothing_is_said(values):
    assert trend(values) is None
