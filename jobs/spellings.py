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
_NEST = r"\\{1,8}"  # a backslash, also where repr of JSON of a repr has doubled it
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
    pieces = re.findall(r"\\+|[^\\]", text)
    first = _spellings_of(pieces[0], True)
    return first + "".join(_spellings_of(piece, False) for piece in pieces[1:])


def any_base64(text: str, offset: int) -> str:
    """Return a pattern for `text` at `offset` (mod 3) in base64, standard or URL-safe."""
    return "".join(_URLSAFE.get(char, char) for char in _base64(text, offset))


def _base64(text: str, offset: int, altchars: bytes = b"+/") -> str:
    """Return the characters of base64 that any text with `text` at `offset` (mod 3) shares."""
    data = text.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(b"\0" * offset + data, altchars).decode()
    return encoded[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]


@lru_cache(maxsize=4096)
def _spellings_of(piece: str, first: bool) -> str:
    """Return the pattern of one character, or of a run of backslashes."""
    if piece[0] == "\\":
        count = len(piece)
        url = f"(?:%(?:25){{0,3}}5[cC]){{{count}}}"
        unicode = f"(?:{_NEST}u005[cC]){{{count}}}"
        entity = f"(?:&(?:amp;){{0,3}}#(?:92|[xX]5[cC]);){{{count}}}"
        return rf"(?:{unicode}|\\{{{count},{count * 8}}}|{url}|{entity})"
    if piece.isascii() and piece.isalnum():
        return piece
    found = [re.escape(piece), *_escapes(piece), *_url(piece), *_html(piece)]
    if piece == "\n":
        found = [r"\r?\n[ \t]{0,64}", rf"{_NEST}r{_NEST}n", "%0[dD]%0[aA]", *found]
    # Backslashes before the first character may stay: they give nothing away.
    optional = r"\\{0,8}" if not first and piece.isascii() and piece.isprintable() else ""
    return f"(?:{optional}{'|'.join(found)})" if not optional else _quoted(optional, found)


def _quoted(optional: str, found: list[str]) -> str:
    return f"(?:{optional}{found[0]}|{'|'.join(found[1:])})"


def _escapes(char: str) -> list[str]:
    """Return the backslash escapes of Python, JSON and YAML."""
    code = ord(char)
    found = [f"{_NEST}U{_hex(code, 8)}"]
    if code < 0x10000:
        found.append(f"{_NEST}u{_hex(code, 4)}")
    else:
        high, low = divmod(code - 0x10000, 0x400)
        found.append(f"{_NEST}u{_hex(0xD800 + high, 4)}{_NEST}u{_hex(0xDC00 + low, 4)}")
    if code < 0x100:
        found.append(f"{_NEST}x{_hex(code, 2)}")
    if code >= 0x80:
        found.append("".join(f"{_NEST}x{_hex(byte, 2)}" for byte in _utf8(char)))
    if char in _SHORT_ESCAPES:
        found.append(_NEST + _SHORT_ESCAPES[char])
    if char in "'\"":
        shell = "'\"'\"'" if char == "'" else '""'
        found = [rf"'{_NEST}''", shell, char * 2, *found]
    return found


def _url(char: str) -> list[str]:
    percent = "".join(f"%(?:25){{0,3}}{_hex(byte, 2)}" for byte in _utf8(char))
    return [percent, r"\+"] if char == " " else [percent]


def _html(char: str) -> list[str]:
    code = ord(char)
    named = f"{_ENTITIES[char]}|" if char in _ENTITIES else ""
    # The ampersand itself may be escaped again; its own spelling must then come first.
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
