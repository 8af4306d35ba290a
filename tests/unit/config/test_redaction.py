import base64
import html
import json
import time
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobs import spellings
from jobs.redaction import MASK, Redactor, url_passwords
from jobs.references import Secret

CHARS = st.characters(min_codepoint=9, max_codepoint=0x1F6FF, exclude_categories=("Cs",))
NASTY = st.sampled_from("'\"\\&<>/+%=?# \n\tnux0é€😀{}|$")
SECRETS = st.text(CHARS | NASTY, min_size=4, max_size=30).filter(lambda s: len(s.strip()) >= 4)
AROUND = st.text(CHARS | NASTY, max_size=12)


def lower_hex(text: str) -> str:
    return "".join(
        char.lower() if "%" in text[max(index - 2, 0) : index] else char
        for index, char in enumerate(text)
    )


FORMS = {
    "raw": str,
    "repr": repr,
    "repr of repr": lambda text: repr(repr(text)),
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode()),
    "json": lambda text: json.dumps(text, ensure_ascii=False),
    "json ascii": json.dumps,
    "json of json": lambda text: json.dumps(json.dumps([text])),
    "repr of json": lambda text: repr(json.dumps({"a": text})),
    "html": html.escape,
    "html twice": lambda text: html.escape(html.escape(text)),
    "html repr": lambda text: html.escape(repr(text)),
    "url of json": lambda text: quote_plus(json.dumps({"a": text})),
    "html of json": lambda text: html.escape(json.dumps(text)),
    "url": lambda text: quote(text, safe=""),
    "url path": quote,
    "url twice": lambda text: quote(quote(text)),
    "url plus": quote_plus,
    "url lower": lambda text: lower_hex(quote(text, safe="")),
    "url query": lambda text: urlencode({"q": text}),
}


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_no_secret_survives_in_any_spelling(
    form: str, secret: str, before: str, after: str
) -> None:
    spelled = FORMS[form]
    redacted = Redactor({"s": secret}).redact(spelled(before + secret + after))
    assert MASK in redacted
    # What is around may hold the secret's beginning again; the secret itself must be gone.
    assert secret not in redacted
    whole = spelled(secret)
    bare = whole[1:-1] if form in ("repr", "ascii", "json", "json ascii") else whole
    assert bare not in redacted


@settings(deadline=None)
@given(secret=SECRETS, before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_no_secret_survives_in_base64_at_any_alignment(
    secret: str, before: bytes, after: bytes
) -> None:
    data = secret.encode()
    for encoder in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encoder(before + data + after).decode()
        redacted = Redactor({"s": secret}).redact(f"Authorization: Basic {encoded}")
        assert MASK in redacted
        # At most the outermost bytes, which share a character with what is around, can be read.
        kept = redacted.removeprefix("Authorization: Basic ").split(MASK)
        shown = sum(len(part.rstrip("=")) for part in kept)
        assert shown * 6 <= (len(before) + len(after)) * 8 + 2 * 6 + 6


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("abcdefgh0123+/=-", min_size=8, max_size=40), min_size=2, max_size=5))
def test_no_line_of_a_secret_with_several_lines_survives(lines: list[str]) -> None:
    redactor = Redactor({"key": "\n".join(lines) + "\n"})
    for line in lines:
        assert redactor.redact(f"  x {line} y") == f"  x {MASK} y"
    indented = "\n".join(f"    {line}" for line in lines)
    shown = redactor.redact(indented)
    assert not any(line in shown for line in lines)


@settings(deadline=None, max_examples=50)
@given(st.lists(SECRETS, min_size=2, max_size=5), st.data())
def test_several_secrets_are_hidden_together(secrets: list[str], data: st.DataObject) -> None:
    redactor = Redactor({f"s{n}": secret for n, secret in enumerate(secrets)})
    text = "".join(data.draw(st.lists(st.sampled_from([*secrets, " ", "x"]), max_size=8)))
    redacted = redactor.redact(text)
    assert not any(secret in redacted for secret in secrets)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abc", min_size=1), SECRETS, min_size=1, max_size=3), AROUND)
def test_split_parts_make_the_text_again_without_the_secret(
    secrets: dict[str, str], around: str
) -> None:
    redactor = Redactor(secrets)
    text = around.join(["", *secrets.values(), *map(quote_plus, secrets.values()), ""])
    parts = redactor.split(text)
    assert "".join(str(redactor.value(p)) if isinstance(p, Secret) else p for p in parts) == text
    for part in parts:
        assert isinstance(part, Secret) or not any(value in part for value in secrets.values())


def test_the_longest_secret_wins() -> None:
    assert Redactor({"a": "abcd", "b": "abcdefgh"}).redact("xabcdefghx abcd") == f"x{MASK}x {MASK}"


def test_nested_secrets_have_dotted_names() -> None:
    redactor = Redactor({"db": {"user": "someone", "ports": [54321, 1]}, "no": None, "yes": True})
    assert redactor.redact("someone 54321 True None") == f"{MASK} {MASK} True None"
    assert redactor.value(Secret("db.ports.0")) == 54321
    assert redactor.value(Secret("db")) == {"user": "someone", "ports": [54321, 1]}
    assert redactor.too_short == ["db.ports.1"]
    assert "db.user" in redactor.names


def test_a_short_secret_is_named_and_not_masked() -> None:
    redactor = Redactor({"pin": "123", "blank": "  a  ", "fine": "1234"})
    assert redactor.too_short == ["pin", "blank"]
    assert redactor.redact("123 1234") == f"123 {MASK}"


def test_a_secret_from_a_block_is_found_without_its_last_newline() -> None:
    assert Redactor({"s": "abcdef\n"}).redact("<abcdef>") == f"<{MASK}>"


def test_an_unknown_secret_or_form_is_a_key_error() -> None:
    redactor = Redactor({"s": "abcdef", "t": {"a": "xxxx"}})
    for name, form in (
        ("no", "raw"),
        ("s", "nope"),
        ("s", "line-7"),
        ("t", "url"),
        ("s", "number"),
    ):
        with pytest.raises(KeyError):
            redactor.value(Secret(name, form))


def test_json_is_redacted_in_strings_keys_and_numbers() -> None:
    redactor = Redactor({"s": "abcdef", "n": 123456})
    value = {"abcdef": ["xabcdefx", 123456, 1, True, None, {"k": "abcdef"}]}
    assert redactor.redact_json(value) == {MASK: [f"x{MASK}x", MASK, 1, True, None, {"k": MASK}]}


def test_redactors_merge() -> None:
    merged = Redactor.merge(
        Redactor({"a": "first!"}), Redactor({"a": "second!", "b": {"c": "third!"}})
    )
    assert merged.redact("first! second! third!") == f"{MASK} second! {MASK}"
    assert merged.value(Secret("b.c")) == "third!"


def test_without_secrets_text_stays_the_same_object() -> None:
    text = "some text"
    redactor = Redactor({})
    assert redactor.redact(text) is text
    assert redactor.split("") == [""]
    assert not redactor


def test_passwords_of_urls_are_found_written_and_decoded() -> None:
    assert url_passwords("postgres://u:a%40b@h/d") == ["a%40b", "a@b"]
    assert url_passwords("postgres://h/d") == []
    assert url_passwords("postgres://u:pass@[h/d") == ["pass"]


@pytest.mark.parametrize(
    "unit", ["k'é\n", "''", "\"'", "\\", "\\'", "\\\n", "\n ", "&amp;", "%25", "+ ", "\\\\n"]
)
@pytest.mark.parametrize("spelled", [str, lambda t: repr(t + "'\""), quote_plus, html.escape])
def test_near_misses_of_a_long_secret_are_found_quickly(unit: str, spelled: Any) -> None:
    began = time.process_time()
    # The short one keeps the search from giving up on the length alone.
    redactor = Redactor({"long": unit * 40 + "end", "short": "#$%&"})
    for near in (unit * 39 + "end!", unit * 40 + "enx", unit * 400, unit[0] * 2000):
        redactor.redact(spelled(near))
    assert redactor.redact(f"<{spelled(unit * 40 + 'end')}>").count(unit[-1:] * 3) == 0
    assert time.process_time() - began < 10


def test_a_very_long_secret_is_hidden() -> None:
    secret = "".join(f"{n:05}" for n in range(10_000))
    redactor = Redactor({"s": secret})
    assert redactor.redact(f"x{secret}x").strip(MASK) == f"x{MASK * 50}x"


@settings(deadline=None)
@given(st.text(max_size=200))
def test_text_without_a_secret_stays(text: str) -> None:
    secret = "Zq7#Zq7#Zq7#"
    assume("Zq7" not in text)
    assert Redactor({"s": secret}).redact(text) == text


@pytest.mark.parametrize("form", spellings.FORMS)
def test_every_exact_spelling_becomes_one_reference(form: str) -> None:
    redactor = Redactor({"s": " p@ss/wö'rd\"+é~! \n"})
    text = spellings.spell(" p@ss/wö'rd\"+é~! \n", form)
    (reference,) = redactor.split(text)
    assert isinstance(reference, Secret)
    assert redactor.value(reference) == text


@pytest.mark.parametrize(
    "written",
    ["a%20b%2F%C3%A9", "a%20b%2f%c3%a9", "a%20b/%C3%A9", "a%20b/%c3%a9", "a+b%2F%C3%A9"]
    + ["a+b%2f%c3%a9", "a b/\\u00e9", "YSBiL8Op", "EgYi_Dq", "EgYi/Dq", "hIGIvw6"],
)
def test_known_spellings_become_references(written: str) -> None:
    redactor = Redactor({"s": "a b/é"})
    (before, reference, after) = redactor.split(f"<{written}>")
    assert (before, after) == ("<", ">")
    assert isinstance(reference, Secret)
    assert redactor.value(reference) == written
    assert redactor.redact(written) == MASK


@pytest.mark.parametrize("before", [65_000, 65_999, 66_530, 66_535, 66_540])
def test_of_a_long_text_the_start_is_masked_and_no_part_of_a_secret_shown(before: int) -> None:
    secret = "-----BEGIN KEY-----"
    shown = Redactor({"s": secret}).redact_start(
        secret * 40 + "x" * before + secret * 400_000, 1000
    )
    assert len(shown) <= 1000
    assert shown.startswith(MASK)
    assert "characters cut]" in shown
    assert "--" not in shown


def test_the_start_of_a_huge_text_costs_little() -> None:
    started = time.monotonic()
    Redactor({"s": "-----BEGIN KEY-----"}).redact_start("x" * 60_000_000, 1000)
    assert time.monotonic() - started < 2
