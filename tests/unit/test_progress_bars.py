"""The tree of bars: sums, rates, times left and silences, and which bars a page shows."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builds.pages import bars, progress
from builds.pages.bars import Bar, Report, make_bars
from builds.pages.progress import View, opened_branches, part_of, row_of, rows_of
from jobcontrol_site import output

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_000_000.0
RUNNING = View("RUNNING", NOW)


def report(*path, done=5, of=10, ago=0.0, **others):
    """A report of a bar that began with nothing done, and came to where it is in ten seconds."""
    pace = {"first_current": 0, "seconds": 10.0, "reports": done + 1} | others
    return Report(path, done, of, "", NOW - ago, **pace)


def bar(**others):
    """The only bar of a tree."""
    return make_bars([report("a", **others)]).children[0]


def labels(rows):
    return [row.label for row in rows]


# --- rates ----------------------------------------------------------------------------------------


def test_a_rate_is_what_was_done_since_the_first_report():
    assert bar().rate == 0.5
    assert bar(first_current=3).rate == 0.2


@pytest.mark.parametrize(
    "unknown",
    [
        {"first_current": None, "seconds": None, "reports": None},  # a row of an older version
        {"seconds": 0.0, "reports": 1},  # the only report
        {"seconds": 0.4, "reports": 6},  # too soon to tell
        {"first_current": 5},  # nothing was done since
        {"first_current": 9},  # it goes down
    ],
)
def test_what_cannot_be_known_is_not_shown(unknown):
    row = row_of(bar(**unknown), RUNNING)
    assert (row.rate, row.left, row.took) == (None, None, None)


def test_the_time_left_follows_from_the_rate_and_goes_down_while_nothing_comes():
    assert bar().left(NOW) == 10
    assert bar(ago=4).left(NOW) == 6
    assert bar(ago=11).left(NOW) is None  # it should have ended by now
    assert row_of(bar(ago=4), RUNNING).left == 6


@pytest.mark.parametrize(("done", "of"), [(10, 10), (11, 10), (5, 0), (5, -1)])
def test_nothing_is_left_of_what_is_done_or_has_no_end(done, of):
    assert bar(done=done, of=of).left(NOW) is None


def test_a_time_left_of_years_is_no_forecast():
    assert bar(of=2**62).left(NOW) is None


def test_the_pace_of_a_branch_is_that_of_its_parts():
    root = make_bars(
        [
            report("a", "x", done=10, seconds=20.0, ago=30.0),
            report("a", "y", done=6, seconds=25.0, ago=0.0),
        ]
    )
    branch = root.children[0]
    assert (branch.current, branch.total) == (16, 20)
    assert branch.seconds == 50
    assert branch.rate == 16 / 50
    assert branch.left(NOW) == pytest.approx(4 / (16 / 50))


def test_nothing_is_known_of_a_branch_with_an_old_part():
    old = report("a", "y", first_current=None, seconds=None, reports=None)
    branch = make_bars([report("a", "x"), old]).children[0]
    assert (branch.seconds, branch.rate, branch.left(NOW)) == (None, None, None)


def test_what_a_branch_reported_wins_over_its_parts():
    root = make_bars([report(done=2, of=4), report("a", done=9, of=9)])
    assert (root.current, root.total, root.rate) == (2, 4, 0.2)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1234.6, "1,235/s"),
        (12.4, "12/s"),
        (9.96, "10/s"),
        (2.54, "2.5/s"),
        (1.0, "1/s"),
        (0.98, "1/s"),
        (0.9, "54/min"),
        (0.05, "3/min"),
        (1 / 60, "1/min"),
        (1 / 360, "10/h"),
        (1 / 3600, "1/h"),
        (0.5 / 3600, "0.5/h"),
        (0.001 / 3600, ""),
        (0.0, ""),
        (None, ""),
    ],
)
def test_a_rate_in_words(rate, text):
    assert output.rate(rate) == text


@given(st.floats(min_value=1e-4, max_value=1e18))
def test_a_rate_in_words_is_near_the_rate(rate):
    number, unit = re.fullmatch(r"([\d.,]+)/(s|min|h)", output.rate(rate)).groups()
    told = float(number.replace(",", "")) / {"s": 1, "min": 60, "h": 3600}[unit]
    assert math.isclose(told, rate, rel_tol=0.06) or abs(told - rate) < 0.06 / 3600
    assert len(number) < 30


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (12_000, "3 h 20 min")]
)
def test_a_time_left_in_words(seconds, text):
    assert output.whole_seconds(seconds) == text


# --- how long it took -----------------------------------------------------------------------------


def test_a_bar_that_is_done_says_how_long_it_took():
    assert row_of(bar(done=10), View("SUCCESSFUL", 0.0)).took == 10
    assert row_of(bar(done=10), RUNNING).took == 10
    assert row_of(bar(done=9), View("SUCCESSFUL", 0.0)).took is None


def test_a_bar_whose_first_step_was_not_seen_took_longer_than_is_known():
    assert row_of(bar(done=10, first_current=1), RUNNING).took_over
    assert not row_of(bar(done=10), RUNNING).took_over


def test_the_whole_of_a_running_build_took_nothing_yet():
    root = make_bars([report(done=10)])
    assert row_of(root, RUNNING).took is None
    assert row_of(root, View("SUCCESSFUL", 0.0)).took == 10


# --- silence --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "seconds", "still"),
    [
        (29, 10.0, False),
        (31, 10.0, True),
        (31, 50.0, False),  # ten seconds between two of its six reports, as a rule
        (49, 50.0, False),
        (51, 50.0, True),
        (31, None, True),  # how often it reports is not known
    ],
)
def test_a_bar_stands_still_when_it_is_silent_for_much_longer_than_usual(ago, seconds, still):
    row = row_of(bar(ago=ago, seconds=seconds), RUNNING)
    assert row.is_still is still
    assert row.silence == ago
    # What stands still will not go on at its rate.
    assert (row_of(bar(of=1_000, ago=ago, seconds=seconds), RUNNING).left is None) == (
        still or seconds is None
    )


@pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED", "CANCELLED", "QUEUED"])
def test_only_what_runs_can_stand_still(status):
    row = row_of(bar(ago=500), View(status, NOW))
    assert (row.silence, row.is_still, row.rate, row.left) == (None, False, None, None)


def test_what_is_done_or_has_not_begun_does_not_stand_still():
    assert row_of(bar(ago=500, done=10), RUNNING).silence is None
    assert row_of(bar(ago=500, done=0, seconds=0.0, reports=1), RUNNING).silence is None
    # Told twice that it waits: somebody works there.
    assert row_of(bar(ago=500, done=0, reports=2), RUNNING).is_still


@pytest.mark.parametrize("done", [0, 10])
def test_the_whole_stands_still_even_when_nothing_or_all_is_done(done):
    root = make_bars([report(done=done, ago=500, reports=1, seconds=0.0)])
    assert row_of(root, RUNNING).is_still


def test_a_branch_moves_while_one_of_its_parts_does():
    root = make_bars([report("a", "x", ago=500), report("a", "y", ago=2), report("b", ago=500)])
    rows = rows_of([root], RUNNING, opened_branches(root, RUNNING))
    still = {row.label: row.is_still for row in rows}
    assert still == {"Total": False, "a": False, "x": True, "y": False, "b": True}


def test_a_clock_that_went_back_makes_no_negative_silence():
    assert bar(ago=-5).silence(NOW) == 0


# --- builds that failed ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_build_that_failed_shows_where_it_stopped(status):
    root = make_bars([report("a", done=10), report("b", done=3), report("c", done=0, reports=1)])
    view = View(status, 0.0)
    rows = {row.label: row for row in rows_of([root], view, opened_branches(root, view))}
    assert {label: (row.badge, row.step) for label, row in rows.items()} == {
        "Total": (status, "stopped"),
        "a": ("", "10"),
        "b": ("stopped", "stopped"),
        "c": ("", "0"),
    }


def test_a_build_that_succeeded_stopped_nowhere():
    assert row_of(bar(done=3), View("SUCCESSFUL", 0.0)).badge == ""


@pytest.mark.parametrize(
    ("current", "step"), [(0, 0), (9, 0), (10, 1), (55, 5), (99, 9), (100, 10), (150, 10), (-3, 0)]
)
def test_a_bar_goes_from_red_to_green_in_ten_steps(current, step):
    assert row_of(bar(done=current, of=100), RUNNING).step == str(step)
    assert f".jc-step-{step} " in (ROOT / "builds/static/builds/builds.css").read_text()


def test_nothing_is_said_of_a_bar_without_total():
    assert row_of(bar(done=3, of=0), RUNNING).step == "none"


# --- which bars are shown -------------------------------------------------------------------------


def idle(n, per):
    """A tree of so many bars that have all been done, in groups."""
    return make_bars(report(f"g{i // per}", f"p{i}", done=10) for i in range(n))


def test_a_small_tree_is_shown_whole():
    root = idle(90, 20)
    rows = rows_of([root], RUNNING, opened_branches(root, RUNNING))
    assert len(rows) == 96
    assert not any(row.folded for row in rows)


def test_a_large_tree_is_folded_below_its_first_level():
    root = idle(200, 20)
    rows = rows_of([root], RUNNING, opened_branches(root, RUNNING))
    assert labels(rows) == ["Total", *(f"g{n}" for n in range(10))]
    assert [row.folded for row in rows] == [0] + [20] * 10


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_of_a_large_tree_the_branches_are_open_where_something_happens(status):
    root = idle(200, 20)
    branch = root.children[7]
    branch.current, branch.begun = 190, True
    view = View(status, NOW)
    rows = rows_of([root], view, opened_branches(root, view))
    assert [row.label for row in rows if row.opens] == ["Total", "g7"]
    assert len(rows) == 31


def test_a_branch_is_open_when_it_is_asked_for():
    root = idle(200, 20)
    view = View("RUNNING", NOW, opened=frozenset([root.children[3].key, "nothing"]))
    rows = rows_of([root], view, opened_branches(root, view))
    assert [row.label for row in rows if row.opens] == ["Total", "g3"]


def test_unfolding_all_stops_where_a_page_would_be_too_long():
    root = idle(5_000, 100)
    view = View("RUNNING", NOW, opened=frozenset(["all"]))
    rows = rows_of([root], view, opened_branches(root, view))
    assert 150 < len(rows) <= progress.UNFOLDED
    assert sum(row.folded > 0 for row in rows) > 0


def test_however_many_branches_are_opened_a_refresh_stays_small():
    root = idle(10_000, 100)
    view = View("RUNNING", NOW, opened=frozenset(child.key for child in root.children))
    assert len(rows_of([root], view, opened_branches(root, view))) <= progress.MOST


def test_each_hundred_of_a_long_list_has_a_bar_of_its_own():
    root = make_bars(report(f"p{i}", done=10 if i < 250 else 0) for i in range(501))
    ranges = root.children
    assert [one.name for one in ranges] == [
        "1–100",
        "101–200",
        "201–300",
        "301–400",
        "401–500",
        "501–501",
    ]
    assert [(one.current, one.total) for one in ranges][1:4] == [
        (1000, 1000),
        (500, 1000),
        (0, 1000),
    ]
    assert (root.current, root.total) == (2500, 5010)
    assert row_of(ranges[0], RUNNING).status_line == "p0 … p99"
    assert len({one.key for one in root.walk()}) == 501 + 6 + 1


def test_two_hundred_are_no_long_list():
    assert len(make_bars(report(f"p{i}") for i in range(bars.LONG_LIST)).children) == bars.LONG_LIST


def test_a_folded_branch_says_what_is_wrong_in_it():
    reports = [report("a", f"p{i}", done=3, ago=500 if i < 4 else 0) for i in range(300)]
    reports += [report("b", f"p{i}", done=10) for i in range(300)]
    root = make_bars(reports)
    assert row_of(root.children[0], RUNNING).remark == "4 without an update"
    assert row_of(root.children[0], View("FAILED", 0.0)).remark == "300 stopped"
    assert row_of(root.children[1], RUNNING).remark == ""
    assert row_of(root.children[0], View("SUCCESSFUL", 0.0)).remark == ""


names = st.sampled_from("abcdef")
paths = st.lists(names, max_size=5).map(tuple)
reports = st.lists(
    st.builds(
        Report,
        paths,
        current=st.integers(-(2**63), 2**63 - 1),
        total=st.integers(-(2**63), 2**63 - 1),
        status_line=st.just(""),
        updated=st.floats(0, 2e6),
        first_current=st.none() | st.integers(-(2**63), 2**63 - 1),
        seconds=st.none() | st.floats(0, 1e9),
        reports=st.none() | st.integers(1, 2**62),
    ),
    max_size=120,
    unique_by=lambda one: one.path,
)
statuses = st.sampled_from(["RUNNING", "FAILED", "SUCCESSFUL", "QUEUED"])
keys = st.frozensets(st.sampled_from(["all", "x"]))


@given(reports, statuses, keys, st.booleans())
def test_rows_of_any_tree_are_a_proper_list_and_never_fail(found, status, opened, every):
    root = make_bars(found)
    view = View(status, NOW, opened)
    if every:
        rows, _ = part_of(root, view, None)
    else:
        rows = rows_of([root], view, opened_branches(root, view))
    check_rows(rows)
    shown = {one.path for one in root.walk()}
    assert {one.path for one in found} <= shown
    if every:
        assert len(rows) == len(shown)


@given(reports, st.integers(1, 5))
def test_the_parts_of_any_tree_are_proper_lists_and_leave_nothing_out(found, size):
    root, view = make_bars(found), View("RUNNING", NOW)
    every = [bar.key for bar in root.walk()]
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "UNFOLDED", size)
        for start in range(0, len(every), size):
            rows, _ = part_of(root, view, str(start // size + 1))
            check_rows(rows)
            own = every[start : start + size]
            assert [row.key for row in rows][-len(own) :] == own
            seen += own
    assert seen == every


def check_rows(rows):
    """Each list that opens is closed again, and no bar comes twice."""
    level = 0
    for row in rows:
        level += row.opens
        level -= len(row.closes)
        assert level >= 0
    assert level == 0
    assert max(Counter(row.key for row in rows).values()) == 1
    assert all(0 <= row.shown <= row.maximum for row in rows)


@given(reports)
def test_a_bar_has_the_same_key_wherever_it_is_read(found):
    first, second = make_bars(found), make_bars(found)
    assert [one.key for one in first.walk()] == [one.key for one in second.walk()]
    assert isinstance(first, Bar)
