"""Return values: pickled, sealed with a key of this site, bound to their build.

A value is encrypted and authenticated (AES-GCM): it may hold a secret that the job was given, and
a pickle must never be loaded unless this site wrote it for this very build.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from jobcontrol.exceptions import RetvalError, SerializationError
from jobcontrol.utils.text import clean_text
from jobs.redaction import Redactor

_VERSION = b"\x01"
_NONCE_BYTES = 12
_MAX_SEARCH_DEPTH = 20
MAX_JSON_CHARS = 1024 * 1024
MAX_JSON_PARTS = 100_000
MAX_JSON_DEPTH = 100


def seal(build_id: int, value: object) -> bytes:
    """Return `value` pickled and sealed for the build.

    Raises SerializationError, which names the part that can't be pickled, or the size.
    """
    pickled = _pickle(value)
    nonce = os.urandom(_NONCE_BYTES)
    cipher = AESGCM(_key(settings.SECRET_KEY))
    return _VERSION + nonce + cipher.encrypt(nonce, pickled, _binding(build_id))


def unseal(build_id: int, sealed: bytes) -> Any:
    """Return the value that was sealed for the build; verified before it is loaded.

    Raises RetvalError when it was altered, sealed for another build or with an unknown key, or
    when its class can't be loaded here.
    """
    pickled = _decrypt(build_id, bytes(sealed))
    try:
        return pickle.loads(pickled)  # noqa: S301 - authenticated above: this site wrote it
    except Exception as error:
        raise RetvalError(
            f"the return value of build #{build_id} can't be loaded here: "
            f"{type(error).__name__}: {error}. Is its class still importable?"
        ) from error


def unseal_pickle(build_id: int, sealed: bytes) -> bytes:
    """Return the pickle that was sealed for the build: verified, not loaded.

    Raises RetvalError when it was altered, sealed for another build or with an unknown key.
    """
    return _decrypt(build_id, bytes(sealed))


def json_text(value: object, redactor: Redactor) -> str:
    """Return the value as JSON, secrets masked; nothing when it is no JSON or too long.

    Only exact types of JSON count, so that the text says all that there is to say.
    """
    if not _is_json(value):
        return ""
    try:
        text = json.dumps(redactor.redact_json(value), ensure_ascii=False, allow_nan=False)
    except (ValueError, RuntimeError):  # no JSON after all, or changed by a thread meanwhile
        return ""
    is_clean = len(text) <= MAX_JSON_CHARS and clean_text(text) == text
    return text if is_clean else ""


def _is_json(value: object) -> bool:
    """Whether the value is made of JSON's own types, not too deep and not too many."""
    seen = 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        seen += 1
        if seen > MAX_JSON_PARTS or depth > MAX_JSON_DEPTH:
            return False
        if type(part) is dict:
            if not all(type(key) is str for key in part):
                return False
            waiting.extend((item, depth + 1) for item in part.values())
        elif type(part) is list:
            waiting.extend((item, depth + 1) for item in part)
        elif part is not None and type(part) not in (bool, int, float, str):
            return False
    return True


def _decrypt(build_id: int, sealed: bytes) -> bytes:
    nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if sealed[:1] == _VERSION and len(nonce) == _NONCE_BYTES:
        for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            try:
                return AESGCM(_key(secret_key)).decrypt(nonce, body, _binding(build_id))
            except InvalidTag:
                continue
    raise RetvalError(
        f"the return value of build #{build_id} was not written by this site for this build, and "
        "is not loaded. If SECRET_KEY was changed, put the old one into SECRET_KEY_FALLBACKS."
    )


@lru_cache(maxsize=16)
def _key(secret_key: str) -> bytes:
    return hashlib.sha256(b"jobcontrol.retval:" + secret_key.encode()).digest()


def _binding(build_id: int) -> bytes:
    return f"build {build_id}".encode()


class _Bounded(io.BytesIO):
    """A buffer that refuses to grow past the limit, so that a huge value fails early."""

    def write(self, data: Any) -> int:
        limit = settings.RETVAL_MAX_BYTES
        if self.tell() + memoryview(data).nbytes > limit:
            raise SerializationError(
                f"the return value is larger than {limit:,} bytes. "
                "Store it elsewhere and return a pointer to it, or raise RETVAL_MAX_BYTES."
            )
        return super().write(data)


def _pickle(value: object) -> bytes:
    buffer = _Bounded()
    try:
        pickle.dump(value, buffer, protocol=pickle.HIGHEST_PROTOCOL)
    except SerializationError:
        raise
    except BaseException as error:
        place, culprit = _find_culprit("the return value", value, 0)
        raise SerializationError(
            f"{place} ({_type_name(culprit)}) can't be pickled: {type(error).__name__}: "
            f"{_text(error)}"
        ) from error
    return buffer.getvalue()


def _find_culprit(place: str, value: object, depth: int) -> tuple[str, object]:
    """Return the innermost part of `value` that can't be pickled by itself."""
    if depth < _MAX_SEARCH_DEPTH:
        for name, part in _parts(value):
            if not _can_be_pickled(part):
                return _find_culprit(place + name, part, depth + 1)
    return place, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f"[{_text(key)!r}]", part
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield f"[{number}]", part
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        for name, part in vars(value).items():
            yield f".{name}", part


def _can_be_pickled(value: object) -> bool:
    try:
        pickle.dump(value, _Bounded(), protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException:  # noqa: BLE001 - any failure at all is the answer
        return False
    return True


def _type_name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(value: object) -> str:
    try:
        return str(value)[:500]
    except BaseException as error:  # noqa: BLE001 - a job's own __str__ may raise anything
        return f"<no text: {type(error).__name__}>"
