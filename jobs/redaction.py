"""Hiding secrets by value, in whatever spelling they turn up.

`Redactor.redact` masks a secret written raw, as repr, JSON, HTML or URL, in any mixture, and as
base64 at any alignment. `Redactor.split` finds the spellings that can be made again from the
secret, so that a stored text can refer to the secret in place of holding it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

from jobcontrol.utils.text import clean_text
from jobs.references import Secret
from jobs.spellings import ALIGNMENTS, FORMS, any_base64, any_spelling, spell

MASK = "•••"
MIN_LENGTH = 4  # characters; masking shorter secrets would only shred the text
MIN_LINE_LENGTH = 8  # of one line of a secret with several lines
_MARGIN = 32 * 1024  # more characters than any spelling of one piece of a secret has
_CHUNK = 1000  # longer secrets are masked in pieces of this length, to keep the pattern small


class Redactor:
    """Knows secrets by name and hides their values.

    `secrets` maps names to values; values inside mappings and lists are known as `name.key` and
    `name.0`. Texts, numbers, dates and bytes count as secrets; true, false and empty do not.
    """

    def __init__(self, secrets: Mapping[str, object]) -> None:
        self._values: dict[str, object] = {}
        self._texts: dict[str, str] = {}
        self.too_short: list[str] = []
        """The names of the secrets that are too short to be masked."""
        for name, value in _flatten(secrets):
            self._values[name] = value
            text = _as_text(value)
            if text is None:
                continue
            if len(text.strip()) < MIN_LENGTH:
                self.too_short.append(name)
            else:
                self._texts[name] = text

    # Made when first needed: a configuration that loads well redacts nothing.
    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return _compile(self._texts.values())

    @cached_property
    def _spellings(self) -> dict[str, Secret]:
        return _exact_spellings(self._texts)

    @cached_property
    def _split_pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted(self._spellings, key=len, reverse=True)
        return _alternatives(re.escape(text) for text in longest_first)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._texts)} secrets>"

    def __bool__(self) -> bool:
        return bool(self._texts)

    @classmethod
    def merge(cls, *redactors: Redactor) -> Redactor:
        """Return a redactor of all these secrets; of one name, the first redactor's value."""
        merged: dict[str, object] = {}
        for redactor in redactors:
            for name, value in redactor._values.items():
                merged.setdefault(name, value)
        return cls(merged)

    @property
    def names(self) -> frozenset[str]:
        """The names of all values, containers and their dotted inner names included."""
        return frozenset(self._values)

    def redact(self, text: str) -> str:
        """Return `text` with `MASK` in place of every secret."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def redact_start(self, text: str, limit: int) -> str:
        """Return the first `limit` characters of `text` redacted, in a form that can be stored.

        Of a longer text no more is masked than is kept: masking holds the interpreter, and
        megabytes of it would let a build's heartbeat wait.
        """
        if self._pattern is None or len(text) <= limit + 2 * _MARGIN:
            return clean_text(self.redact(text), limit)
        start = self.redact(text[: limit + 2 * _MARGIN])
        # A secret that was cut in two stands at the end, where it is not masked.
        start = start[:-_MARGIN]
        marker = f"… [{len(text) - limit} characters cut]"
        return clean_text(start[: max(limit - len(marker), 0)]) + marker

    def redact_json(self, value: Any) -> Any:
        """Return a copy of a JSON value with every string, key and number redacted."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {self.redact_json(key): self.redact_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact_json(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            redacted = self.redact(text)
            return value if redacted == text else redacted
        return value

    def split(self, text: str) -> list[str | Secret]:
        """Return `text` in parts, with a reference in place of every secret found in it."""
        if self._split_pattern is None:
            return [text]
        parts: list[str | Secret] = []
        end = 0
        for found in self._split_pattern.finditer(text):
            if found.start() > end:
                parts.append(text[end : found.start()])
            parts.append(self._spellings[found[0]])
            end = found.end()
        if end < len(text) or not parts:
            parts.append(text[end:])
        return parts

    def reference(self, number: object) -> Secret | None:
        """Return the reference to the secret that is this number (or date), if there is one."""
        text = _as_text(number)
        for name, known in self._texts.items():
            if text == known.strip():
                if type(self._values[name]) is type(number):
                    return Secret(name)
                if isinstance(number, int | float):
                    return Secret(name, "number")
        return None

    def value(self, secret: Secret) -> object:
        """Return what a reference stands for: the value itself, or its text in another form.

        Raises KeyError when there is no such secret, or it has no such form.
        """
        value = self._values[secret.name]
        if secret.form == "raw":
            return value
        text = _as_text(value)
        if text is None:
            raise KeyError(secret.name)
        return _number(text) if secret.form == "number" else spell(text, secret.form)


def url_passwords(url: str) -> list[str]:
    """Return the password in a URL as it stands there and decoded; none where there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        # Not a URL that can be taken apart (a half-open bracket): look for the usual shape.
        found = re.search(r"://[^/\s:@]*:([^/\s@]+)@", url)
        password = found[1] if found else None
    return list(dict.fromkeys([password, unquote(password)])) if password else []


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        # Stored when the secret was a number; it has changed since.
        raise KeyError("number") from error


def _flatten(secrets: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield every value with its dotted name, containers before what they hold."""
    pending: list[tuple[str, object]] = list(secrets.items())[::-1]
    while pending:
        name, value = pending.pop()
        yield name, value
        if isinstance(value, Mapping):
            inner = [(f"{name}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list | tuple | set | frozenset):
            inner = [(f"{name}.{index}", item) for index, item in enumerate(value)]
        else:
            continue
        pending.extend(reversed(inner))


def _as_text(value: object) -> str | None:
    """Return the text of a secret as it would be written, None for what is no secret."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if value is None or isinstance(value, bool | Mapping | list | tuple | set | frozenset):
        return None
    return str(value)


def _long_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines()):
        if len(line.strip()) >= MIN_LINE_LENGTH:
            yield number, line.strip()


def _exact_spellings(texts: Mapping[str, str]) -> dict[str, Secret]:
    """Return every exact spelling of every secret; the simpler form and earlier name win."""
    found: dict[str, Secret] = {}
    for form in FORMS:
        for name, text in texts.items():
            found.setdefault(spell(text, form), Secret(name, form))
    for name, text in texts.items():
        for number, line in _long_lines(text):
            found.setdefault(line, Secret(name, f"line-{number}"))
    return found


def _compile(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return one pattern for all spellings of these texts, longest text first."""
    pieces: dict[str, None] = {}
    for text in texts:
        for whole in (text, text.strip()):
            pieces.update(dict.fromkeys(_chunks(whole)))
        for _, line in _long_lines(text):
            pieces.update(dict.fromkeys(_chunks(line)))
    patterns: list[str] = []
    for piece in sorted(pieces, key=len, reverse=True):
        patterns.append(any_spelling(piece))
        patterns.extend(any_base64(piece, offset) for offset in ALIGNMENTS)
    return _alternatives(patterns)


def _chunks(text: str) -> Iterator[str]:
    """Yield pieces of at most `_CHUNK` characters; the last ones overlap, none is short."""
    for start in range(0, max(len(text) - _CHUNK, 0) + 1, _CHUNK):
        yield text[start : start + _CHUNK]
    if len(text) % _CHUNK and len(text) > _CHUNK:
        yield text[-_CHUNK:]


def _alternatives(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(dict.fromkeys(patterns))
    return re.compile(joined) if joined else None
