"""How one text can be written: exact forms to make again, and patterns to find any mixture."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, quote_plus

ALIGNMENTS = (0, 1, 2)
# Backslashes, then a run of one quote or one other character; or backslashes at the end.
_PIECES = re.compile(r"""(\\*)('+|"+|[^\\'"])|(\\+)""")
_NESTING = 8  # backslashes in place of one, as in a repr of JSON of a repr
_SHORT_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f", "\v": "v", "\a": "a"}
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_URLSAFE = {"+": r"(?:\+|-|%2[bB])", "/": r"(?:/|_|\\{1,8}/|%2[fF])"}


def spell(text: str, form: str) -> str:
    """Return `text` in the form of that name. Raises KeyError for an unknown form."""
    if not form.startswith("line-"):
        return FORMS[form](text)
    lines = text.splitlines()
    number = form.removeprefix("line-")
    if not number.isdecimal() or int(number) >= len(lines):
        raise KeyError(form)
    return lines[int(number)].strip()


def any_spelling(text: str) -> str:
    """Return a pattern for `text` raw, as repr, JSON, HTML or URL, in any mixture and nesting."""
    return "".join(
        _piece(len(found[1] or found[3] or ""), found[2] or "", found.start() == 0)
        for found in _PIECES.finditer(text)
    )


def any_base64(text: str, offset: int) -> str:
    """Return a pattern for `text` at `offset` (mod 3) in base64, standard or URL-safe."""
    return "".join(_URLSAFE.get(char, char) for char in _base64(text, offset))


def _base64(text: str, offset: int, altchars: bytes = b"+/") -> str:
    """Return the characters of base64 that any text with `text` at `offset` (mod 3) shares."""
    data = text.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(b"\0" * offset + data, altchars).decode()
    return encoded[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]


# The pattern of a piece must match a text in one way only. Two ways would be 2^n ways for n
# pieces, all of which are tried when the text differs in the end.
@lru_cache(maxsize=4096)
def _piece(backslashes: int, chars: str, first: bool) -> str:
    """Return the pattern of backslashes and the character (or run of one quote) after them."""
    if not chars:
        return _run(backslashes, backslashes * _NESTING)
    char = chars[0]
    if char.isascii() and char.isalnum():
        return (_run(backslashes, backslashes * _NESTING) if backslashes else "") + char
    plain = "|".join(_plain(char))
    escaped = "|".join(_escapes(char))
    if backslashes:
        # A text has the backslashes and those that escape the character in one run.
        start = f"{_run(backslashes, (backslashes + 1) * _NESTING)}(?:{escaped}|{plain})"
    else:
        # Backslashes before the first character may stay: they give nothing away.
        optional = not first and char.isascii() and char.isprintable() and char != " "
        run = f"{_run(1, _NESTING)}?" if optional else ""
        start = f"(?:{_run(1, _NESTING)}(?:{escaped})|{run}(?:{plain}))"
    if char not in "'\"":
        return start
    again = f"{_run(1, _NESTING)}?(?:{escaped}|{plain})"
    # YAML and SQL write a quote twice.
    return f"{start}(?:{again}){{{len(chars) - 1}}}{char}{{0,{len(chars)}}}"


def _run(least: int, most: int) -> str:
    """Return the pattern of so many backslashes: raw, in a URL or in HTML."""
    count = f"{{{least},{most}}}"
    url = f"(?:%(?:25){{0,3}}5[cC]){count}"
    entities = f"(?:&(?:amp;){{0,3}}#(?:92|[xX]5[cC]);){count}"
    return rf"(?:\\{count}|{url}|{entities})"


def _plain(char: str) -> list[str]:
    """Return the spellings of a character that need no backslash."""
    if char == "\n":
        return [r"\r?\n[ \t]{0,64}", r"(?:%(?:25){0,3}0[dD])?%(?:25){0,3}0[aA]", *_html(char)]
    percent = "".join(f"%(?:25){{0,3}}{_hex(byte, 2)}" for byte in _utf8(char))
    plus = [r"\+"] if char == " " else []
    return [re.escape(char), percent, *plus, *_html(char)]


def _escapes(char: str) -> list[str]:
    """Return the escapes of Python, JSON and YAML, without the backslashes they begin with."""
    code = ord(char)
    nest = _run(1, _NESTING)
    found = [f"U{_hex(code, 8)}"]
    if code < 0x10000:
        found.append(f"u{_hex(code, 4)}")
    else:
        high, low = divmod(code - 0x10000, 0x400)
        found.append(f"u{_hex(0xD800 + high, 4)}{nest}u{_hex(0xDC00 + low, 4)}")
    if code < 0x100:
        found.append(f"x{_hex(code, 2)}")
    if code >= 0x80:
        found.append(nest.join(f"x{_hex(byte, 2)}" for byte in _utf8(char)))
    if char in _SHORT_ESCAPES:
        found.append(_SHORT_ESCAPES[char])
    if char == "\n":
        found.append(f"r{nest}n")
    return found


def _html(char: str) -> list[str]:
    code = ord(char)
    named = f"{_ENTITIES[char]}|" if char in _ENTITIES else ""
    return [f"&(?:amp;){{0,3}}(?:{named}#0{{0,3}}{code}|#[xX]0{{0,3}}{_hex(code, 1)});"]


def _hex(number: int, digits: int) -> str:
    """Return a pattern for a number in hexadecimal, capitals or not."""
    return "".join(
        f"[{digit}{digit.upper()}]" if digit.isalpha() else digit
        for digit in f"{number:0{digits}x}"
    )


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def _percent(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="surrogatepass")


def _plus(text: str) -> str:
    return quote_plus(text, errors="surrogatepass")


def _repr_body(text: str) -> str:
    # As it stands in the repr of a longer text: in single quotes unless it has one itself.
    return repr(f'{text}"')[1:-2] if "'" not in text else repr(text)[1:-1]


def _base64_form(offset: int, altchars: bytes) -> Callable[[str], str]:
    return lambda text: _base64(text, offset, altchars)


FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "strip": str.strip,
    "url": _percent,
    "url-lower": lambda text: _lower_hex(_percent(text)),
    "url-path": lambda text: _percent(text, "/"),
    "url-path-lower": lambda text: _lower_hex(_percent(text, "/")),
    "url-plus": _plus,
    "url-plus-lower": lambda text: _lower_hex(_plus(text)),
    "url-component": lambda text: _percent(text, "!'()*"),
    "url-user": lambda text: _percent(text, "!$&'()*+,;="),
    "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json-ascii": lambda text: json.dumps(text)[1:-1],
    "repr": _repr_body,
    "html": html.escape,
    **{f"base64-{offset}": _base64_form(offset, b"+/") for offset in ALIGNMENTS},
    **{f"base64url-{offset}": _base64_form(offset, b"-_") for offset in ALIGNMENTS},
}
"""The spellings that can be made again exactly from a text, by name."""
