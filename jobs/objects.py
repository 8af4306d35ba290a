"""A configuration given as Python objects, checked and copied into plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from jobs import parsing
from jobs.parsing import Document
from jobs.problems import Finding, quoted
from jobs.references import Retval, Secret, Text

_SCALARS = (str, int, float, bytes, date, Retval, Secret, Text)


class _TooBig(Exception):  # noqa: N818 - from the copy to its caller
    pass


def clean_object(value: object) -> Document:
    """Return a copy of `value` as a document; what no file could hold stands in its findings."""
    copier = _Copier()
    document = Document()
    try:
        document.value = copier.copy(value, ())
    except _TooBig as error:
        copier.findings.append(Finding("depth", str(error)))
    document.findings = copier.findings
    return document


class _Copier:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.nodes = 0

    def copy(self, value: Any, path: tuple[object, ...]) -> Any:
        self.nodes += 1
        if self.nodes > parsing.MAX_NODES:
            raise _TooBig(f"more than {parsing.MAX_NODES:,} values")
        if len(path) > parsing.MAX_DEPTH:
            raise _TooBig(f"nested more than {parsing.MAX_DEPTH} levels deep")
        if value is None or isinstance(value, _SCALARS):
            return value
        if isinstance(value, Mapping):
            return {
                self._key(key, path): self.copy(item, (*path, key)) for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            items = self._items(value, path)
            if isinstance(value, set | frozenset):
                return set(items)
            return tuple(items) if isinstance(value, tuple) else items
        message = f"a configuration can't hold a {type(value).__name__}"
        self._find(message, path)
        return None

    def _items(self, values: Iterable[Any], path: tuple[object, ...]) -> list[Any]:
        return [self.copy(item, (*path, index)) for index, item in enumerate(values)]

    def _key(self, key: Any, path: tuple[object, ...]) -> Any:
        if key is None or (isinstance(key, _SCALARS) and not isinstance(key, Retval)):
            return key
        self._find(f"a key must be text or a number, not {quoted(key)}", path)
        return repr(key)

    def _find(self, message: str, path: tuple[object, ...]) -> None:
        key = ".".join(str(step) for step in path) or None
        self.findings.append(Finding("value", message, key=key))
