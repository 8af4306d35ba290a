"""What is written without PyYAML is what PyYAML writes."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs import yaml_text

BLOCK = {
    "id": "crawl/7",
    "title": "The crawl of number 7, every day: at 3 o'clock ",
    "function": "mypackage.mymodule:function",
    "args": [1, True, None, "yes", "2020-01-01", "1e3", [], {}],
    "kwargs": {"storage": {"url": "postgresql://host/db", "notes": "one\n\n  two\nthree\n"}},
    "tags": ["daily", "very heavy"],
    "schedule": [{"cron": "0 3 1-5 3 1", "args": [{"a": [{"b": "c"}], "d": "e"}]}, {"every": "1h"}],
    "protected": False,
    "notes": "Reads *all* of it.\n",
}

WORDS = st.sampled_from(
    ["yes", "No", "null", "~", "=", "<<", "2020-01-01", "1e3", "0x1f", "1:30", "1_000", ".inf"]
    + ["---", "--- a", "...", "- a", "? a", "a: b", "a #b", "a:", "#", "*a", "&a", "!a", "%a", "@"]
    + ["x\n", "a\n\nb\n", "a\n b\n", " a\nb\n", "a \nb\n", "a\nb", "it's", "word " * 30]
)
TEXTS = WORDS | st.text(max_size=20) | st.text("a1 .:,-#'\"*[{\n\t~=", max_size=90)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(TEXTS | st.integers(), VALUES, max_size=4))
@example(BLOCK)
def test_both_write_the_same(value: dict[Any, Any]) -> None:
    assert yaml_text.to_yaml(value) == yaml_text._dumped(value)


def test_what_most_jobs_are_is_written_without_pyyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(value: object) -> str:
        raise AssertionError(value)

    monkeypatch.setattr(yaml_text, "_dumped", refuse)
    assert yaml_text.to_yaml(BLOCK).startswith("id: crawl/7\ntitle: 'The crawl of number 7, ")


def test_a_text_of_one_line_and_its_end_is_a_block() -> None:
    assert yaml_text.to_yaml({"notes": "Só.\n"}) == "notes: |\n  Só.\n"
