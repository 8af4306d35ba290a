"""The log lines that tell the story of a build: pairs that a program can read."""

import json
import logging
import re

import pytest

from builds import story


def parsed(line: str) -> dict[str, str]:
    """As a program would read it."""
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)(?: |$)', line)
    return {key: json.loads(value) if value[0] == '"' else value for key, value in pairs}


def test_a_line_is_pairs_and_begins_with_the_event():
    assert story.line("ended", build=12, job="crawl", seconds=1.5) == (
        "event=ended build=12 job=crawl seconds=1.500"
    )


def test_what_is_not_known_is_left_out():
    assert story.line("ended", kind="", user=None, running=False, build=0) == (
        "event=ended running=False build=0"
    )


@pytest.mark.parametrize(
    "text",
    ["two words", 'a "quoted" one', "a=b", "line\nbreak", "back\\slash", "größer als", "tab\t"],
)
def test_any_text_can_be_read_back(text):
    line = story.line("closed", why=text, build=1)
    assert "\n" not in line
    assert parsed(line) == {"event": "closed", "why": text, "build": "1"}


def test_a_step_is_logged_at_its_level(caplog):
    with caplog.at_level(logging.DEBUG):
        story.tell(logging.getLogger("a"), "closed", level=logging.ERROR, why="100 %")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", 'event=closed why="100 %"')
