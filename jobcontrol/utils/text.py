"""Text and JSON that any database column can hold: no NUL, no lone surrogate, bounded size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DEPTH = 100
"""Levels of a JSON value that are kept; encoders and browsers recurse."""

MAX_ITEMS = 100_000
"""Items of one list or object that are kept."""

MAX_INTEGER_BITS = 14_000
"""Above this, Python refuses to write an integer in decimal (4,300 digits)."""

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def plain(text: str) -> str:
    """Return `text` as an exact `str`, whatever methods its class overrides."""
    return text if type(text) is str else str.__str__(text)


def clean_text(text: str, limit: int | None = None) -> str:
    """Return `text` without NUL and lone surrogates (U+FFFD in their place).

    With a `limit` (characters, at least 0) the result is never longer; what was cut is said at its
    end: `… [N characters cut]`, where the limit leaves room for that.
    """
    text = plain(text)
    if limit is not None and len(text) > limit:
        text = _cut(text, limit)
    if text.isascii() and "\0" not in text:
        return text  # nearly always; looking for the others takes five times as long
    return _UNSTORABLE.sub(REPLACEMENT, text)


def _cut(text: str, limit: int) -> str:
    kept = limit - len(_cut_marker(len(text)))
    if kept <= 0:
        return text[: max(limit, 0)]
    return text[:kept] + _cut_marker(len(text) - kept)


def _cut_marker(count: int) -> str:
    return f"… [{count} characters cut]"


def trim_string(s: str, maxlen: int = 1024, ellps: str = "...") -> str:
    """Trim `s` to at most `maxlen` characters, with `ellps` at the end if something was cut."""
    s = plain(s)
    if len(s) <= maxlen:
        return s
    if maxlen <= len(ellps):
        return ellps[: max(maxlen, 0)]
    return s[: maxlen - len(ellps)] + ellps


def clean_json(value: object, *, text_limit: int | None = None) -> JSON:
    """Return `value` as JSON that any database and any reader takes.

    Texts and keys are cleaned and cut to `text_limit` characters; NaN and infinities become text,
    as do integers of more than 4,300 digits; tuples become lists. Keys that clash once they are
    cleaned get a number. Levels below `MAX_DEPTH` and items above `MAX_ITEMS` are replaced by a
    note. Raises TypeError for what is no JSON at all.
    """
    return _clean(value, text_limit, 0)


def _clean(value: object, limit: int | None, depth: int) -> JSON:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value, limit)
    if isinstance(value, int | float):
        return _clean_number(value)
    if isinstance(value, dict | list | tuple):
        if depth >= MAX_DEPTH:
            return f"… [more than {MAX_DEPTH} levels]"
        if isinstance(value, dict):
            return _clean_object(value, limit, depth)
        return _clean_list(value, limit, depth)
    raise TypeError(f"a JSON column can't hold a value of type {type(value).__name__!r}")


def _clean_number(value: int | float) -> JSON:
    # Exact numbers, whatever the class: an enumeration's member is written as its number.
    if isinstance(value, float):
        number = float.__pos__(value)
        return number if math.isfinite(number) else repr(number)
    integer = int.__pos__(value)
    bits = integer.bit_length()
    return integer if bits <= MAX_INTEGER_BITS else f"… [integer of {bits} bits]"


def _clean_list(value: list[Any] | tuple[Any, ...], limit: int | None, depth: int) -> JSON:
    base: Any = list if isinstance(value, list) else tuple
    items: Iterable[object] = islice(base.__iter__(value), MAX_ITEMS)
    result: list[JSON] = [_clean(item, limit, depth + 1) for item in items]
    left = base.__len__(value) - len(result)
    if left > 0:
        result.append(f"… [{left} more]")
    return result


def _clean_object(value: dict[Any, Any], limit: int | None, depth: int) -> JSON:
    result: dict[str, JSON] = {}
    for key, item in islice(dict.items(value), MAX_ITEMS):
        result[_free_key(_clean_key(key, limit), result)] = _clean(item, limit, depth + 1)
    left = dict.__len__(value) - MAX_ITEMS
    if left > 0:
        result[_free_key(f"… [{left} more]", result)] = None
    return result


def _clean_key(key: object, limit: int | None) -> str:
    if isinstance(key, str):
        return clean_text(key, limit)
    if key is None or isinstance(key, int | float):
        # As the JSON encoder writes them.
        words = {None: "null", True: "true", False: "false"}
        word = words.get(key) if key is None or isinstance(key, bool) else None
        return word or str(_clean(key, limit, 0))
    raise TypeError(f"a JSON object can't have a key of type {type(key).__name__!r}")


def _free_key(key: str, taken: dict[str, JSON]) -> str:
    number, free = 2, key
    while free in taken:
        free = f"{key} ({number})"
        number += 1
    return free
