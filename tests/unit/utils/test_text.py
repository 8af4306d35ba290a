import enum
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobcontrol.utils import trim_string
from jobcontrol.utils.text import MAX_DEPTH, clean_json, clean_text

# Any character, the unstorable ones often.
texts = st.text(st.one_of(st.characters(codec=None), st.sampled_from("\x00\ud800\udfffa…")))


def storable(text):
    return "\x00" not in text and text.encode("utf-8") is not None


@given(texts)
def test_clean_text_is_storable_and_changes_nothing_else(text):
    cleaned = clean_text(text)
    assert storable(cleaned)
    assert len(cleaned) == len(text)
    for before, after in zip(text, cleaned, strict=True):
        unstorable = before == "\x00" or "\ud800" <= before <= "\udfff"
        assert after == ("\ufffd" if unstorable else before)


@given(texts, st.integers(0, 60))
def test_clean_text_never_exceeds_its_limit_and_keeps_the_beginning(text, limit):
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert storable(cleaned)
    if len(text) <= limit:
        assert cleaned == clean_text(text)
    else:
        kept, marker, _ = cleaned.rpartition("… [")
        assert clean_text(text).startswith(kept if marker else cleaned)


def test_clean_text_says_how_much_was_cut():
    cleaned = clean_text("a" * 1000, 100)
    # 77 letters and a marker of 22 characters: one is left free, as 1000 has a digit more.
    assert cleaned == "a" * 77 + "… [923 characters cut]"


class Odd(str):
    """A text whose methods can't be trusted."""

    __slots__ = ()

    def __len__(self):
        raise RuntimeError("len")

    def __getitem__(self, key):
        raise RuntimeError("getitem")

    def __str__(self):
        raise RuntimeError("str")


def test_a_text_of_a_class_with_odd_methods_is_text():
    for result in (clean_text(Odd("abcdef")), clean_text(Odd("abc"), 3), trim_string(Odd("abc"))):
        assert type(result) is str
    assert clean_text(Odd("abcdef"), 3) == "abc"
    assert trim_string(Odd("abcdef"), 5) == "ab..."


@pytest.mark.parametrize(
    ("maxlen", "expected"),
    [(10, "abcdefghij"), (9, "abcdef..."), (4, "a..."), (3, "..."), (2, ".."), (0, ""), (-1, "")],
)
def test_trim_string(maxlen, expected):
    assert trim_string("abcdefghij", maxlen) == expected


def test_trim_string_takes_another_ellipsis():
    assert trim_string("abcdefghij", 5, "…") == "abcd…"
    assert trim_string("a" * 1025) == "a" * 1021 + "..."


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.one_of(texts, st.none(), st.booleans(), st.integers()), inner),
    ),
    max_leaves=30,
)


def oracle(value):
    """What stays the same when cleaned: the value without what JSON or a column can't hold."""
    if isinstance(value, dict):
        return len(value), sorted(map(repr, (oracle(item) for item in value.values())))
    if isinstance(value, list | tuple):
        return [oracle(item) for item in value]
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return repr(value)
    return value


@given(values)
def test_clean_json_is_json_and_loses_nothing(value):
    cleaned = clean_json(value)
    written = json.dumps(cleaned, allow_nan=False)
    assert json.loads(written) == cleaned
    assert storable(json.dumps(cleaned, ensure_ascii=False))
    assert oracle(cleaned) == oracle(value)


def test_clean_json_cuts_texts_and_keys():
    assert clean_json({"abcdef": ["abcdef"]}, text_limit=3) == {"abc": ["abc"]}


def test_keys_that_clash_when_cleaned_are_all_kept():
    keys = ["a\x00", "a\ud800", "a\ufffd", None, "null"]
    cleaned = clean_json(dict(zip(keys, range(1, 6), strict=True)))
    assert cleaned == {
        "a\ufffd": 1,
        "a\ufffd (2)": 2,
        "a\ufffd (3)": 3,
        "null": 4,
        "null (2)": 5,
    }


def test_keys_are_written_as_the_encoder_writes_them():
    value = {None: 0, True: 1, False: 2, 7: 3, 1.5: 4}
    assert clean_json(value) == json.loads(json.dumps(value))


def test_numbers_that_json_or_the_decimal_writer_refuse_become_text():
    assert clean_json([float("nan"), float("inf"), -float("inf")]) == ["nan", "inf", "-inf"]
    (cleaned,) = clean_json([10**5000])
    assert cleaned == "… [integer of 16610 bits]"


def test_subclasses_become_plain_values():
    class Level(enum.IntEnum):
        HIGH = 3

    (number,) = clean_json([Level.HIGH])
    assert type(number) is int
    assert number == 3


def test_endless_and_deep_values_are_cut():
    endless = []
    endless.append(endless)
    written = json.dumps(clean_json(endless), ensure_ascii=False)
    assert written.count("[") == MAX_DEPTH + 1
    assert "more than 100 levels" in written


def test_long_lists_and_objects_are_cut_with_a_note(monkeypatch):
    monkeypatch.setattr("jobcontrol.utils.text.MAX_ITEMS", 3)
    assert clean_json([1, 2, 3, 4, 5]) == [1, 2, 3, "… [2 more]"]
    assert clean_json([1, 2, 3]) == [1, 2, 3]
    assert clean_json(dict.fromkeys("abcde", 0)) == {"a": 0, "b": 0, "c": 0, "… [2 more]": None}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", {(1, 2): 3}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match="can't h"):
        clean_json(value)
