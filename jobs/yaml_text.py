"""Values as YAML to look at.

PyYAML's dumper would take most of the time in which thousands of jobs are stored. So what most of
their values are (plain words, lines of text, short lists, numbers) is written here, exactly as
PyYAML writes it; every entry with something else in it goes to PyYAML.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, cast

import yaml
from yaml.resolver import Resolver

from jobs.redaction import MASK
from jobs.references import Retval, Secret, Text

WIDTH = 100
_SHORT = 80  # characters of a line that PyYAML surely does not fold
_RESOLVERS: dict[str, list[tuple[str, Any]]] = Resolver.yaml_implicit_resolvers
_WORDS = re.compile(
    r"[A-Za-z0-9_/](?:[A-Za-z0-9_./()=+*-]|[ :](?=[A-Za-z0-9_./(*])|, ?(?=[A-Za-z0-9_]))*"
)
_PRINTABLE = re.compile(r"[ -~]+")
# What no text without quotes can have.
_QUOTES_NEEDED = re.compile(r": | #|[: ]\Z|\A[ #,\[\]{}&*!|>'\"%@`]")
# Lines, none of which ends with a space; neither the first nor the last is empty.
_LINES = re.compile(r"(?! )(?:[ -~]*[!-~]\n+)*[ -~]*[!-~]\n")
_LINE_START = re.compile(r"\n(?=[^\n])")


def to_yaml(value: object) -> str:
    """Return `value` as YAML to look at: `!retval x`, `!secret name`, and a mask in a `Text`."""
    if type(value) is not dict or not value:
        return _dumped(value)
    entries = []
    for key, item in value.items():
        entry = _entry(key, item, "")
        entries.append(_dumped({key: item}) if entry is None else entry)
    return "".join(entries)


def _entry(key: object, value: Any, indent: str) -> str | None:
    """Return an entry of a mapping, or None when it is left to PyYAML."""
    name = _name(key) if type(key) is str else None
    if name is None:
        return None
    kind = type(value)
    if kind is list and value:
        return _all(f"{indent}{name}:\n", [_item(item, indent) for item in value])
    if kind is dict and value:
        return _all(f"{indent}{name}:\n", _entries(value, f"{indent}  "))
    if kind is str and _LINES.fullmatch(value):
        lines = _LINE_START.sub(f"\n{indent}  ", f"\n{value}")
        return f"{indent}{name}: |{lines}"
    text = _scalar(value, len(indent) + len(name))
    return None if text is None else f"{indent}{name}: {text}\n"


def _entries(mapping: dict[Any, Any], indent: str) -> list[str | None]:
    return [_entry(key, item, indent) for key, item in mapping.items()]


def _item(value: Any, indent: str) -> str | None:
    """Return an item of a list, or None."""
    if type(value) is dict and value:
        found = _all("", _entries(value, f"{indent}  "))
        return None if found is None else f"{indent}- {found[len(indent) + 2 :]}"
    text = _scalar(value, len(indent))
    return None if text is None else f"{indent}- {text}\n"


def _all(start: str, parts: list[str | None]) -> str | None:
    """Return all parts together, or None when one is missing."""
    return None if None in parts else start + "".join(cast("list[str]", parts))


@lru_cache(maxsize=1024)
def _name(key: str) -> str | None:
    return _text(key, 0)


def _scalar(value: Any, before: int) -> str | None:
    kind = type(value)
    if kind is str:
        return _text(value, before)
    if kind is int:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind is list or kind is dict:
        return str(value) if not value else None  # both look alike in YAML
    return None


def _text(text: str, before: int) -> str | None:
    """Return a text with so many letters before it, or None when it is left to PyYAML."""
    if len(text) + before > _SHORT:
        return None
    if _WORDS.fullmatch(text):
        return f"'{text}'" if _means_something(text) else text
    if _PRINTABLE.fullmatch(text) and _QUOTES_NEEDED.search(text):
        return "'{}'".format(text.replace("'", "''"))
    return None


def _means_something(text: str) -> bool:
    """Whether YAML reads it as a number, a date, true, null and the like."""
    return any(pattern.match(text) for _, pattern in _RESOLVERS.get(text[:1], ()))


def _dumped(value: object) -> str:
    dumped: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        width=WIDTH,
    )
    return dumped.removesuffix("...\n")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_text(dumper: Any, value: str) -> yaml.Node:
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    has_lines = "\n" in value.lstrip("\n") and ("\n" in value.strip("\n") or value[0] != "\n")
    style = "|" if has_lines else None
    return cast("yaml.Node", dumper.represent_scalar("tag:yaml.org,2002:str", value, style))


def _represent_parts(dumper: Any, value: Text) -> yaml.Node:
    shown = "".join(MASK if isinstance(part, Secret) else part for part in value.parts)
    return _represent_text(dumper, shown)


def _represent_reference(dumper: Any, value: Retval | Secret) -> yaml.Node:
    retval = isinstance(value, Retval)
    name = value.job_id if isinstance(value, Retval) else value.name
    tag = "!retval" if retval else "!secret"
    return cast("yaml.Node", dumper.represent_scalar(tag, name))


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Text, _represent_parts)
_Dumper.add_representer(Retval, _represent_reference)
_Dumper.add_representer(Secret, _represent_reference)
_Dumper.add_representer(frozenset, _Dumper.represent_set)
