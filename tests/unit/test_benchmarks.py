"""What the benchmarks make of their numbers."""

import importlib
import sys
from xml.etree import ElementTree

import pytest

from tests.bootstrap import ROOT


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("measuring")
    sys.modules.pop("measuring", None)


@pytest.fixture
def plot(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("plot")
    sys.modules.pop("plot", None)


def test_the_ratio_is_the_median_of_the_rounds_each_with_its_own_peer(measuring):
    row = measuring.Row("x", "SQLite", "peer", "ms", ours=[10, 40, 90], peer=[10, 10, 45])
    assert row.ratios == [1, 4, 2]
    assert row.ratio == 2
    assert row.to_json()["spread"] == [1, 4]
    assert row.is_met is None


@pytest.mark.parametrize(
    ("ours", "budget", "more_is_better", "met"),
    [
        (2.0, 1.5, False, False),
        (1.5, 1.5, False, True),
        (0.9, 1.0, True, False),
        (1.0, 1.0, True, True),
    ],
)
def test_a_budget_bounds_the_ratio_from_its_side(measuring, ours, budget, more_is_better, met):
    row = measuring.Row("x", "", "", "", [ours], [1.0], budget, more_is_better)
    assert row.is_met is met
    assert ("yes" if met else "NO") in measuring.line(row)


def test_a_row_without_a_peer_has_neither_ratio_nor_verdict(measuring):
    row = measuring.Row("x", "SQLite", "tqdm", "ns", [5.0], [], budget=1.0)
    assert row.ratio is None
    assert row.is_met is None
    assert "–" in measuring.line(row)


def test_a_plot_is_svg_with_a_line_and_a_name_for_each(plot):
    lines = [plot.Line("one & <two>", [(1_000, 1.0), (10_000, 3.0)]), plot.Line("b", [(1_000, 1)])]
    root = ElementTree.fromstring(plot.drawing(lines, title="Growth"))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "one & <two>" in texts
    assert "10,000" in texts
    first, _ = root.iter("{http://www.w3.org/2000/svg}polyline")
    heights = [float(point.split(",")[1]) for point in first.get("points").split()]
    assert heights[0] > heights[1]  # more is higher
