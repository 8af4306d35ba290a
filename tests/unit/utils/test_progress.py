import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobcontrol.utils import ProgressReport

names = st.sampled_from(["a", "b", "a::b", "", "é"])
paths = st.one_of(st.none(), st.lists(names, max_size=4), st.lists(names, max_size=4).map(tuple))
numbers = st.integers(-5, 2**40)
tables = st.lists(st.tuples(paths, numbers, numbers, st.sampled_from(["", "busy", None])))


def oracle(table, path):
    """The bar at `path` by brute force: what was last reported, else the sum of its children."""
    reported = {tuple(row[0] or ()): row[1:] for row in table}
    children = list(
        dict.fromkeys(
            tuple(row[0])[: len(path) + 1]
            for row in table
            if row[0] and len(row[0]) > len(path) and tuple(row[0])[: len(path)] == path
        )
    )
    below = [oracle(table, child) for child in children]
    current, total, status_line = reported.get(
        path,
        (sum(child["current"] for child in below), sum(child["total"] for child in below), None),
    )
    return {
        "name": path[-1] if path else None,
        "current": current,
        "total": total,
        "status_line": status_line or "",
        "children": below,
    }


@given(tables)
def test_the_tree_is_what_brute_force_makes_of_the_table(table):
    """original #28"""
    report = ProgressReport.from_table(table)
    assert report.to_json() == oracle(table, ())
    for _, node in report.walk():
        written = node.to_json()
        assert (node.current, node.total) == (written["current"], written["total"])


def test_the_root_and_parents_that_were_not_reported_sum_their_children():
    """original #28"""
    report = ProgressReport.from_table(
        [
            (("Extracting",), 2, 10, "page 2"),
            (("Download", "b.zip"), 3, 100, ""),
            (["Download", "a.zip"], 4, 100, None),
        ]
    )
    assert report.name is None
    assert (report.current, report.total) == (9, 210)
    assert [child.name for child in report.children] == ["Extracting", "Download"]
    download = report.children[1]
    assert (download.current, download.total) == (7, 200)
    assert [child.name for child in download.children] == ["b.zip", "a.zip"]


def test_what_was_reported_of_a_parent_wins():
    """original #28"""
    report = ProgressReport.from_table(
        [(("a", "b"), 5, 10, ""), (("a",), 1, 2, "mine"), (None, 0, 0, "root")]
    )
    assert (report.current, report.total, report.status_line) == (0, 0, "root")
    assert (report.children[0].current, report.children[0].total) == (1, 2)
    assert report.children[0].status_line == "mine"


@pytest.mark.parametrize("path", [None, (), [], ""])
def test_none_and_empty_paths_are_the_root(path):
    """original #27"""
    report = ProgressReport.from_table([(path, 3, 4, "x")])
    assert (report.current, report.total, report.children) == (3, 4, [])


def test_a_text_is_split_and_names_in_a_path_are_not():
    """original #27"""
    report = ProgressReport.from_table([("a::b", 1, 2, ""), (("a::b",), 3, 4, "")])
    assert [child.name for child in report.children] == ["a", "a::b"]
    assert [child.name for child in report.children[0].children] == ["b"]


def test_other_paths_are_refused():
    with pytest.raises(TypeError, match="must be None, a tuple or a list of names, not 'int'"):
        ProgressReport.from_table([(7, 1, 2, "")])


def test_of_two_rows_for_a_path_the_later_counts_and_the_place_stays():
    report = ProgressReport.from_table([("a", 1, 9, ""), ("b", 1, 1, ""), ("a", 2, 5, "x")])
    assert report.to_json()["children"][0] == {
        "name": "a", "current": 2, "total": 5, "status_line": "x", "children": [],
    }  # fmt: skip
    assert len(report.children) == 2


@pytest.mark.parametrize(
    ("current", "total", "percent", "human", "label"),
    [
        (20, 100, 0.2, "20%", "[20/100] Total"),
        (0, 10, 0.0, "0%", "[0/10] Total"),
        (10, 10, 1.0, "100%", "[10/10] Total"),
        (999, 1000, 0.999, "99%", "[999/1000] Total"),
        (5, 0, 0.0, "N/A", "[5/0] Total"),
        (5, -3, 0.0, "N/A", "[5/-3] Total"),
        (-5, 10, -0.5, "-50%", "[-5/10] Total"),
        (30, 10, 3.0, "300%", "[30/10] Total"),
        (10**400, 1, float("inf"), f"{10**402}%", f"[{10**400}/1] Total"),
    ],
)
def test_absurd_numbers_are_shown_as_given(current, total, percent, human, label):
    """original #27"""
    report = ProgressReport(None, current, total)
    assert report.percent == percent
    assert report.percent_human == human
    assert report.progress_label == label


def test_a_tree_is_walked_from_the_top_in_order():
    report = ProgressReport.from_table([("a::b", 1, 2, ""), ("c", 1, 2, ""), ("a::d", 1, 2, "")])
    walked = [(depth, node.name) for depth, node in report.walk()]
    assert walked == [(0, None), (1, "a"), (2, "b"), (2, "d"), (1, "c")]


def test_the_label_of_a_bar_has_its_name():
    assert ProgressReport("Download", 1, 2).progress_label == "[1/2] Download"


@pytest.mark.parametrize(
    ("current", "total", "color"),
    [
        (0, 10, "#CC2828"),
        (5, 10, "#CCCC28"),
        (10, 10, "#28CC28"),
        (-9, 10, "#CC2828"),
        (99, 10, "#28CC28"),
        (0, 0, "#CC2828"),
    ],
)
def test_the_colour_goes_from_red_to_green(current, total, color):
    assert ProgressReport(None, current, total).color_css_rgb == color


def test_a_report_made_by_hand_sums_its_children():
    report = ProgressReport("all", children=[ProgressReport("a", 1, 2), ProgressReport("b", 3, 4)])
    assert (report.current, report.total, report.percent_human) == (4, 6, "66%")
    report.children.append(ProgressReport("c", 0, 4))
    assert report.total == 10
    assert repr(report) == "<ProgressReport 'all' 4/10>"


def test_children_must_be_reports():
    with pytest.raises(TypeError, match="must be ProgressReports"):
        ProgressReport("all", children=[("a", 1, 2)])


def test_an_empty_table_is_an_empty_root():
    report = ProgressReport.from_table([], base_name="x")
    assert report.to_json() == {
        "name": "x", "current": 0, "total": 0, "status_line": "", "children": [],
    }  # fmt: skip
    assert report.percent_human == "N/A"


def test_a_deep_tree_needs_no_recursion_and_can_be_written_as_json():
    path = tuple(map(str, range(5000)))
    report = ProgressReport.from_table([(path, 3, 7, ""), (path[:2000], 1, 2, "")])
    assert (report.current, report.total) == (1, 2)
    assert max(depth for depth, _ in report.walk()) == 5000
    written = report.to_json()
    assert json.dumps(written).count('"name"') == 101
    assert (written["current"], written["total"]) == (1, 2)
    deepest = list(report.walk())[-1][1]
    assert (deepest.name, deepest.current) == ("4999", 3)


def test_levels_left_out_of_the_json_count_in_the_sums():
    report = ProgressReport.from_table([(("a", "b", "c"), 3, 7, "")])
    written = report.to_json(max_depth=1)
    assert written["children"] == [
        {"name": "a", "current": 3, "total": 7, "status_line": "", "children": []}
    ]


def test_a_wide_tree_keeps_its_order():
    table = [(("all", f"n{number}"), 1, 2, "") for number in range(10_000)]
    report = ProgressReport.from_table(table)
    assert (report.current, report.total) == (10_000, 20_000)
    written = report.to_json()["children"][0]["children"]
    assert [child["name"] for child in written] == [f"n{number}" for number in range(10_000)]
