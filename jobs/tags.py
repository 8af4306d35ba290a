"""Values of a configuration as JSON, as YAML to look at, and resolved for a call.

JSON can't hold all that YAML can: dates, bytes, sets, keys that are no strings, references. Such
values are *tagged* with a key that begins with "!": see `encode`. All functions here recurse as
deep as the value is nested, which `jobs.parsing` and `jobs.config` bound.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from jobs.redaction import Redactor
from jobs.references import Retval, Secret, Text
from jobs.yaml_text import to_yaml

__all__ = ["BLOCK_KEYS", "Retval", "Secret", "Text", "decode", "encode", "resolve", "retvals_in",
           "secrets_in", "to_yaml"]  # fmt: skip

BLOCK_KEYS = frozenset(
    ("id", "title", "notes", "function", "args", "kwargs", "dependencies", "tags", "protect")
).union(
    ("protected", "cleanup", "cleanup_function", "repr_function", "pinned_builds", "priority"),
    ("concurrency", "queue", "timeout", "retries", "retention", "schedule", "rebuild"),
)
"""The keys of a job that mean something here; all others are the job's own."""

JSON = Any


def encode(value: object, masker: Redactor | None = None) -> JSON:
    """Return `value` as JSON, which `decode` turns back into an equal value.

    With a `masker`, references stand where the values of its secrets stood; what `resolve` makes
    of that is the same. The keys of the outermost mapping (the keys of a job, the names of
    arguments) are names and stay. Raises TypeError for a value that no configuration can hold.
    """
    encoder = _Encoder(masker)
    if isinstance(value, dict):
        names = _Encoder(None)
        return encoder.pairs(
            [(names.encode(key), encoder.encode(item)) for key, item in value.items()]
        )
    return encoder.encode(value)


class _Encoder:
    def __init__(self, masker: Redactor | None) -> None:
        self.masker = masker or None  # one without secrets has nothing to do

    def encode(self, value: Any) -> JSON:
        if value is None or value is True or value is False:
            return value
        encoder = _ENCODERS.get(type(value)) or next(
            (encoder for kind, encoder in _ENCODERS.items() if isinstance(value, kind)), None
        )
        if encoder is None:
            raise TypeError(f"a configuration can't hold a {type(value).__name__}: {value!r:.100}")
        return encoder(self, value)

    def text(self, value: str) -> JSON:
        if self.masker is not None:
            parts = self.masker.split(value)
            if len(parts) > 1 or isinstance(parts[0], Secret):
                return self.parts(Text(tuple(parts)))
        return _plain(value)

    def parts(self, value: Text) -> JSON:
        parts = [
            self.secret(part) if isinstance(part, Secret) else _plain(part) for part in value.parts
        ]
        return {"!text": parts, "binary": True} if value.binary else {"!text": parts}

    def secret(self, value: Secret) -> JSON:
        return {"!secret": _plain(value.name), "form": _plain(value.form)}

    def retval(self, value: Retval) -> JSON:
        return {"!retval": _plain(value.job_id)}

    def number(self, value: int | float) -> JSON:
        reference = self.masker.reference(value) if self.masker else None
        if reference is not None:
            return self.secret(reference)
        if isinstance(value, int):
            return int(value)
        text = repr(float(value))
        # Databases rewrite numbers with an exponent (1e+22 comes back whole) and drop -0.0's sign.
        plain = math.isfinite(value) and "e" not in text and text != "-0.0"
        return float(value) if plain else {"!float": text}

    def moment(self, value: datetime) -> JSON:
        reference = self.masker.reference(value) if self.masker else None
        return self.secret(reference) if reference else {"!datetime": value.isoformat()}

    def day(self, value: date) -> JSON:
        reference = self.masker.reference(value) if self.masker else None
        return self.secret(reference) if reference else {"!date": value.isoformat()}

    def binary(self, value: bytes) -> JSON:
        if self.masker is not None:
            parts = self.masker.split(value.decode("utf-8", "surrogateescape"))
            if len(parts) > 1 or isinstance(parts[0], Secret):
                return self.parts(Text(tuple(parts), binary=True))
        return {"!bytes": base64.b64encode(value).decode()}

    def items(self, value: Iterable[object]) -> JSON:
        return [self.encode(item) for item in value]

    def fixed(self, value: Iterable[object]) -> JSON:
        return {"!tuple": [self.encode(item) for item in value]}

    def members(self, value: Iterable[object]) -> JSON:
        # Sorted: the same set must give the same text, and so the same hash, in every process.
        return {"!set": sorted((self.encode(item) for item in value), key=_sort_key)}

    def mapping(self, value: Mapping[object, object]) -> JSON:
        return self.pairs([(self.encode(key), self.encode(item)) for key, item in value.items()])

    def pairs(self, encoded: list[tuple[JSON, JSON]]) -> JSON:
        if all(isinstance(key, str) and not key.startswith("!") for key, _ in encoded):
            return dict(encoded)
        return {"!dict": [list(pair) for pair in encoded]}


_ENCODERS: dict[type, Callable[[_Encoder, Any], JSON]] = {
    str: _Encoder.text,
    int: _Encoder.number,
    float: _Encoder.number,
    list: _Encoder.items,
    dict: _Encoder.mapping,
    Retval: _Encoder.retval,
    Secret: _Encoder.secret,
    Text: _Encoder.parts,
    datetime: _Encoder.moment,  # before date, which it is a kind of
    date: _Encoder.day,
    bytes: _Encoder.binary,
    tuple: _Encoder.fixed,
    set: _Encoder.members,
    frozenset: _Encoder.members,
}


def _sort_key(item: JSON) -> str:
    return json.dumps(item, sort_keys=True)


def _plain(text: str) -> JSON:
    """Return text as JSON that every database can store."""
    storable = "\0" not in text
    if storable and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate
            storable = False
    if storable:
        return str(text)
    return {"!str": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}


def decode(value: JSON) -> Any:
    """Return the value that `encode` was given. Raises ValueError for JSON it can't have made."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next((key for key in value if key.startswith("!")), None)
    if tag is None:
        return {key: decode(item) for key, item in value.items()}
    decoder = _DECODERS.get(tag)
    if decoder is None:
        raise ValueError(f"unknown tag {tag!r} in a stored value")
    try:
        return decoder(value[tag], value)
    except (TypeError, LookupError, binascii.Error) as error:
        raise ValueError(f"a stored value tagged {tag!r} is damaged: {value!r:.100}") from error


def _decode_text(parts: list[JSON], whole: dict[str, JSON]) -> Text:
    return Text(tuple(decode(part) for part in parts), bool(whole.get("binary", False)))


_DECODERS: dict[str, Callable[[Any, dict[str, JSON]], object]] = {
    "!retval": lambda content, _: Retval(decode(content)),
    "!secret": lambda content, whole: Secret(decode(content), decode(whole.get("form", "raw"))),
    "!date": lambda content, _: date.fromisoformat(content),
    "!datetime": lambda content, _: datetime.fromisoformat(content),
    "!bytes": lambda content, _: base64.b64decode(content, validate=True),
    "!float": lambda content, _: float(content),
    "!set": lambda content, _: {decode(item) for item in content},
    "!tuple": lambda content, _: tuple(decode(item) for item in content),
    "!dict": lambda content, _: {decode(key): decode(item) for key, item in content},
    "!str": lambda content, _: base64.b64decode(content, validate=True).decode(
        "utf-8", "surrogatepass"
    ),
    "!text": _decode_text,
}


def resolve(
    value: object,
    *,
    retval: Callable[[str], object],
    secret: Callable[[Secret], object],
) -> Any:
    """Return a fresh copy of `value` with every reference, at any depth, replaced.

    `retval` is called with the job id once for each occurrence; `secret` with the reference (see
    `Redactor.value`). What they raise comes out as it is.
    """
    return _Resolver(retval, secret).resolve(value)


class _Resolver:
    def __init__(self, retval: Callable[[str], object], secret: Callable[[Secret], object]) -> None:
        self.retval = retval
        self.secret = secret

    def resolve(self, value: object) -> object:
        if isinstance(value, dict):
            return {self.resolve(key): self.resolve(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = [self.resolve(item) for item in value]
            if isinstance(value, list):
                return items
            return tuple(items) if isinstance(value, tuple) else set(items)
        if isinstance(value, Retval):
            return self.retval(value.job_id)
        if isinstance(value, Secret):
            return self.secret(value)
        return self.text(value) if isinstance(value, Text) else value

    def text(self, value: Text) -> str | bytes:
        parts = [
            _secret_text(self.secret(part)) if isinstance(part, Secret) else part
            for part in value.parts
        ]
        joined = "".join(parts)
        return joined.encode("utf-8", "surrogateescape") if value.binary else joined


def _secret_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def retvals_in(value: object) -> list[str]:
    """Return the jobs of every `!retval` in `value`, each once, in order of appearance."""
    return jobs_of(references_in(value, Retval))


def jobs_of(references: Iterable[object]) -> list[str]:
    """Return the jobs of the `!retval` among these references, each once, in order."""
    return list(dict.fromkeys(ref.job_id for ref in references if isinstance(ref, Retval)))


def secrets_in(value: object) -> list[str]:
    """Return the names of every `!secret` in `value`, each once, in order of appearance."""
    return list(dict.fromkeys(ref.name for ref in references_in(value, Secret)))


def references_in(value: object, kind: Any = (Retval, Secret)) -> list[Any]:
    """Return the references of that kind (or kinds) in `value`, in order of appearance."""
    found: list[Any] = []
    pending = [value]
    while pending:
        item = pending.pop()
        if type(item) in _WITHOUT_REFERENCES:
            continue
        if isinstance(item, dict):
            for key, inner in reversed(item.items()):
                pending += (inner, key)
        elif isinstance(item, list | tuple | set | frozenset):
            pending.extend(reversed(list(item)))
        elif isinstance(item, kind):
            found.append(item)
        elif isinstance(item, Text):
            pending.extend(reversed(item.parts))
    return found


_WITHOUT_REFERENCES = frozenset((str, int, bool, float, type(None)))
