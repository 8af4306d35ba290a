"""Text for people: nothing that a job wrote can drive the terminal."""

import io
import logging

import pytest

from jobcontrol.utils import ProgressReport
from jobcontrol_site import output


def test_control_characters_are_made_visible():
    assert output.visible("a\x1b[31mb\x00\tc\nd\x9b") == "a␛[31mb␀\tc\nd\ufffd"
    assert output.visible("a\u202eb\u2066c") == r"a\u202eb\u2066c"


def test_markup_in_a_cell_is_text():
    table = output.table(["A"], [["[red]x[/red] :smile: [/]"]], terminal=False)
    assert output.render(table, terminal=False).splitlines() == ["A", "[red]x[/red] :smile: [/]"]


def test_piped_tables_are_plain_and_never_cut():
    long = "word " * 200
    text = output.render(output.table(["A", "B"], [["x", long]], terminal=False), terminal=False)
    assert "\x1b" not in text
    assert long.strip() in text.splitlines()[1]
    assert len(text.splitlines()) == 2


def test_terminal_tables_have_colours():
    rows = [[output.styled("FAILED")]]
    assert "\x1b[31mFAILED" in output.render(
        output.table(["A"], rows, terminal=True), terminal=True
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.04, "0.0 s"), (59.94, "59.9 s"), (125, "2 min 5 s"), (12_000, "3 h 20 min")],
)
def test_durations(value, text):
    assert output.seconds(value) == text


def test_progress_is_an_indented_tree():
    tree = ProgressReport.from_table([(("a", "b"), 1, 2, "now"), (("c",), 0, 0, None)])
    assert output.progress_text(tree) == "[1/2] Total\n  [1/2] a\n    [1/2] b  now\n  [0/0] c"


def test_log_lines_go_above_the_live_bars_and_the_stream_is_put_back():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with output.LiveProgress("#1 job", stream) as display:
            display.show(ProgressReport.from_table([(("x" * 300,), 5, 3, "line\nbreak")]))
            root.warning("a [red]warning[/red]")
        assert handler.stream is stream
    finally:
        root.removeHandler(handler)
    assert "a [red]warning[/red]\n" in stream.getvalue()
