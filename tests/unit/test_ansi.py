"""Colours for terminals as HTML: what they become, and that nothing gets past the escaping."""

import re

import pytest
from django.utils.html import escape
from hypothesis import given
from hypothesis import strategies as st

from builds.pages.ansi import nearest, of_256, plain, to_html

ESC = "\x1b"
CODES = st.lists(st.integers(0, 300), max_size=6).map(lambda found: ";".join(map(str, found)))
PIECES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["<b>", "&amp;", '"', "'", "\x9b", ESC, f"{ESC}[", f"{ESC}]0;title", "\x07"]),
    st.builds(lambda codes: f"{ESC}[{codes}m", CODES),
    st.builds(lambda codes: f"{ESC}[{codes.replace(';', ':')}m", CODES),
    st.builds(lambda n, end: f"{ESC}[{n}{end}", st.integers(0, 99), st.sampled_from("ABCDHJKfhl")),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
TAG = re.compile(r'<span class="(jc-a-[a-z0-9-]+ ?)+">|</span>|<mark>|</mark>')


def colours(*codes):
    return f"{ESC}[{';'.join(map(str, codes))}m"


def spans(text, find=""):
    """The HTML, shorter: {classes|text}."""
    html = to_html(text, find)
    return re.sub(r'<span class="([^"]*)">', r"{\1|", html).replace("</span>", "}")


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ((31,), "jc-a-1"),
        ((97,), "jc-a-15"),
        ((44,), "jc-a-on-4"),
        ((101,), "jc-a-on-9"),
        ((1, 4, 32), "jc-a-2 jc-a-bold jc-a-underline"),
        ((2,), "jc-a-dim"),
        ((3, 9), "jc-a-italic jc-a-strike"),
        ((31, 7), "jc-a-inverse jc-a-on-1"),
        ((31, 42, 7), "jc-a-inverse jc-a-2 jc-a-on-1"),
        ((38, 5, 9), "jc-a-9"),
        ((38, 5, 196), "jc-a-9"),
        ((48, 5, 255), "jc-a-on-7"),
        ((38, 2, 250, 5, 5), "jc-a-9"),
        ((38, 2, 1, 2, 3, 1), "jc-a-0 jc-a-bold"),
        ((1, 38, 5, 2, 4), "jc-a-2 jc-a-bold jc-a-underline"),
    ],
)
def test_a_style_has_its_classes(codes, classes):
    assert spans(f"a{colours(*codes)}b{ESC}[0mc") == f"a{{{classes}|b}}c"


@pytest.mark.parametrize(
    ("on", "off"),
    [(1, 22), (2, 22), (3, 23), (4, 24), (7, 27), (9, 29), (31, 39), (41, 49), (4, "4:0"), (1, "")],
)
def test_a_style_is_taken_back(on, off):
    assert spans(f"{colours(on)}a{colours(off)}b").endswith("}b")


@pytest.mark.parametrize("text", ["38:2::250:5:5", "38:2:250:5:5", "38:5:9", "38;5;9"])
def test_both_ways_to_write_a_colour_are_read(text):
    assert spans(f"{ESC}[{text}mx") == "{jc-a-9|x}"


@pytest.mark.parametrize(
    "codes",
    ["38", "38;5", "38;5;256", "38;2;1;2", "38;2;1;2;999", "38;9", "999999999999", "5", "8", "10"],
)
def test_what_is_no_style_changes_nothing(codes):
    assert to_html(f"a{ESC}[{codes}mb") == "ab"


@pytest.mark.parametrize(
    "other",
    [
        f"{ESC}[2K",
        f"{ESC}[?25l",
        f"{ESC}[10;20H",
        f"{ESC}]0;a title\x07",
        f"{ESC}]8;;https://example.org{ESC}\\",
        f"{ESC}(B",
        f"{ESC}c",
        f"{ESC}=",
        "\x9b2J",
        "\x07",
        "\x08",
        "\x00",
        "\x7f",
    ],
)
def test_other_sequences_are_left_out(other):
    assert to_html(f"a{other}b") == "ab"
    assert plain(f"a{other}b") == "ab"


@pytest.mark.parametrize("end", [ESC, f"{ESC}[", f"{ESC}[3", f"{ESC}[38;5", f"{ESC}]0;tit"])
def test_a_sequence_that_the_end_cut_off_is_left_out(end):
    assert to_html("text" + end) == "text"


def test_a_title_without_an_end_takes_no_line_with_it():
    assert to_html(f"{ESC}]0;title\nnext line") == "\nnext line"


def test_markup_is_text():
    assert to_html(f"{colours(31)}<script>{ESC}[0m&") == (
        '<span class="jc-a-1">&lt;script&gt;</span>&amp;'
    )


def test_what_was_searched_is_marked_across_colours():
    text = f"an {colours(31)}Err{colours(32)}or{ESC}[0m <b>error</b>"
    assert spans(text, "error") == (
        "an {jc-a-1|<mark>Err</mark>}{jc-a-2|<mark>or</mark>} &lt;b&gt;<mark>error</mark>&lt;/b&gt;"
    )
    assert to_html("a.b axb", "A.B") == "<mark>a.b</mark> axb"
    assert to_html("none", "<") == "none"


@given(TEXTS, st.sampled_from(["", "a", "<", "&", "b>"]))
def test_any_text_becomes_safe_html_that_says_the_same(text, find):
    html = to_html(text, find)
    rest = TAG.sub("", html)
    assert "<" not in rest
    assert ">" not in rest
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", rest)
    assert escape(plain(text)) == rest
    assert html.count("<span") == html.count("</span>")
    assert html.count("<mark>") == html.count("</mark>")


@given(st.text(max_size=200))
def test_text_for_no_terminal_stays(text):
    kept = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "", text)
    if kept == text:
        assert plain(text) == text


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_every_colour_is_one_of_the_sixteen(number, red, green, blue):
    assert of_256(number) in range(16)
    assert nearest(red, green, blue) in range(16)
