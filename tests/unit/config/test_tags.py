import json
from datetime import UTC, date
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.config import load_text
from jobs.redaction import Redactor
from jobs.tags import Retval, Secret, Text, decode, encode, resolve, retvals_in, secrets_in, to_yaml

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
PARTS = st.lists(TEXTS | st.builds(Secret, TEXTS, TEXTS), min_size=1, max_size=4).map(tuple)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXTS
    | st.binary(max_size=20)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(Retval, TEXTS)
    | st.builds(Secret, TEXTS, TEXTS)
    | st.builds(Text, PARTS, st.booleans())
)
KEYS = TEXTS | st.text("!abc", max_size=4) | st.integers() | st.dates() | st.none() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(st.integers() | TEXTS, max_size=4)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down (1, 1.0 and True are equal to Python)."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True))
    if isinstance(one, list | tuple):
        return all(same(a, b) for a, b in zip(one, other, strict=True))
    return repr(one) == repr(other) if isinstance(one, float) else True


def strings(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


@settings(deadline=None)
@given(VALUES)
def test_decode_is_the_exact_inverse_of_encode_through_json(value: Any) -> None:
    stored = json.loads(json.dumps(encode(value), allow_nan=False))
    assert same(decode(stored), value)
    for text in strings(stored):
        assert "\0" not in text
        text.encode()


@pytest.mark.parametrize("number", [float("inf"), -float("inf"), 1e22, 1e308, 5e-324, -0.0])
def test_numbers_that_databases_rewrite_are_kept(number: float) -> None:
    stored = encode([number])
    assert stored == [{"!float": repr(number)}]
    assert repr(decode(stored)[0]) == repr(number)


def test_nan_is_kept() -> None:
    assert repr(decode(encode(float("nan")))) == "nan"


def test_tags_are_as_documented() -> None:
    value = {
        "a": Retval("x"),
        "b": Secret("s"),
        "c": date(2024, 1, 2),
        "d": (1,),
        "e": {2, 1},
        "f": {1: 2},
        "g": b"x",
        "h": {"!a": 1},
        "i": "a\0",
    }
    assert encode(value) == {
        "a": {"!retval": "x"},
        "b": {"!secret": "s", "form": "raw"},
        "c": {"!date": "2024-01-02"},
        "d": {"!tuple": [1]},
        "e": {"!set": [1, 2]},
        "f": {"!dict": [[1, 2]]},
        "g": {"!bytes": "eA=="},
        "h": {"!dict": [["!a", 1]]},
        "i": {"!str": "YQA="},
    }


def test_what_no_configuration_holds_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="can't hold a object"):
        encode({"a": [object()]})


@pytest.mark.parametrize(
    "stored",
    [{"!nope": 1}, {"!date": 3}, {"!dict": 3}, {"!bytes": "%"}, {"!date": "x"}, {"!float": []}],
)
def test_damaged_json_is_a_value_error(stored: Any) -> None:
    with pytest.raises(ValueError, match="tag|Invalid"):
        decode(stored)


SECRET_VALUES = {
    "db": "p@ss/wörd 1",
    "pin": 12345,
    "text_pin": "987654",
    "two": "line one!\nline two!",
}


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["p@ss/wörd 1", "p%40ss/w%C3%B6rd%201", "p%40ss%2fw%c3%b6rd+1", "line one!", "x", " "]
            + ["p@ss/w\\u00f6rd 1", "cEBzcy93w7ZyZCAx", "12345"]
        ),
        max_size=5,
    ).map("".join)
)
def test_a_masked_value_runs_as_it_was_written(text: str) -> None:
    redactor = Redactor(SECRET_VALUES)
    value = {"url": text, "deep": [{text: (text, 12345, 987654, text.encode())}]}
    stored = json.loads(json.dumps(encode(value, redactor)))
    shown = json.dumps(stored, ensure_ascii=False)
    for hidden in ("p@ss", "p%40", "cEBzcy", "12345", "987654", "line one!"):
        assert hidden not in shown
    resolved = resolve(decode(stored), retval=str, secret=redactor.value)
    assert same(resolved, value)


def test_a_password_within_a_url_becomes_a_reference() -> None:
    redactor = Redactor({"db": "a b/c"})
    stored = encode("postgres://u:a%20b%2Fc@h/db", redactor)
    assert stored == {"!text": ["postgres://u:", {"!secret": "db", "form": "url"}, "@h/db"]}
    assert to_yaml({"x": decode(stored)}) == "x: postgres://u:•••@h/db\n"


def test_the_names_of_a_jobs_keys_and_arguments_stay() -> None:
    stored = encode({"args": {"args": 1}}, Redactor({"silly": "args"}))
    assert stored == {"args": {"!dict": [[{"!text": [{"!secret": "silly", "form": "raw"}]}, 1]]}}


def test_references_are_resolved_at_any_depth_each_anew() -> None:
    """original #9 #11"""
    calls: list[str] = []

    def retval(job: str) -> list[str]:
        calls.append(job)
        return [job]

    value = {"a": [Retval("x"), (Retval("x"), {"b": Retval("123")})], "t": "{id}", "s": {1}}
    resolved = resolve(value, retval=retval, secret=lambda secret: secret.name)
    assert resolved == {"a": [["x"], (["x"], {"b": ["123"]})], "t": "{id}", "s": {1}}
    assert resolved["a"][0] is not resolved["a"][1][0]
    assert resolved["s"] is not value["s"]
    assert calls == ["x", "x", "123"]


def test_secrets_are_resolved_in_values_keys_sets_and_texts() -> None:
    redactor = Redactor({"n": 12345, "t": "abcd"})
    value = [Secret("n"), {Secret("t"): {Secret("t")}}, Text(("a", Secret("n"), Secret("t")))]
    resolved = resolve(value, retval=str, secret=redactor.value)
    assert resolved == [12345, {"abcd": {"abcd"}}, "a12345abcd"]


def test_references_are_listed_once_in_order_of_appearance() -> None:
    value = {"z": [Retval("b"), {"k": (Retval("a"), Retval("b"))}], "s": {Secret("q")}}
    assert retvals_in(value) == ["b", "a"]
    assert secrets_in([value, Text(("x", Secret("w")))]) == ["q", "w"]


def test_yaml_to_look_at() -> None:
    value = {"id": "a", "args": [Retval("x"), Secret("s")], "notes": "one\ntwo\n", "é": True}
    assert to_yaml(value) == (
        "id: a\nargs:\n- !retval 'x'\n- !secret 's'\nnotes: |\n  one\n  two\né: true\n"
    ).replace("'", "")


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=9)
        | st.dates() | st.builds(Retval, st.text("abc:# {").map(str.strip).filter(bool)),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=4),
        max_leaves=15,
    )
)  # fmt: skip
def test_shown_yaml_loads_back_as_the_same_value(value: Any) -> None:
    block = {"id": "abc", "function": "m:f", "mine": value}
    names = sorted({*retvals_in(block)} - {"abc"})
    others = [{"id": name, "function": "m:f"} for name in names]
    if "abc" in retvals_in(block):
        block["id"] = "another"
        others.append({"id": "abc", "function": "m:f"})
    text = "{% raw %}" + to_yaml({"jobs": [block, *others]}) + "{% endraw %}"
    assert same(load_text(text, environ={}).jobs[0].config["mine"], value)


def test_yaml_of_text_with_lone_surrogates_can_be_shown() -> None:
    assert "?" in to_yaml({"a": "\ud800"})


def test_shown_yaml_is_plain_yaml() -> None:
    assert yaml.safe_load(to_yaml({"a": (1, {2}), "b": {"c": []}})) == {
        "a": [1, {2}],
        "b": {"c": []},
    }
