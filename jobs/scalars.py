"""Scalars of YAML: which type a plain one has, and how each becomes a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from jobs.problems import quoted
from jobs.tags import Retval, Secret

MERGE: Final = object()  # the plain key `<<`
MAX_NUMBER_LENGTH = 1000  # a longer number can't be sure to become decimal text again

_PREFIX = "tag:yaml.org,2002:"
_RESOLVERS: dict[str, list[tuple[str, Any]]] = Resolver.yaml_implicit_resolvers
_NUMBERS = (f"{_PREFIX}int", f"{_PREFIX}float")
_SAFE: Any = SafeConstructor()
_CONSTRUCTORS: dict[str, Callable[[Any, yaml.ScalarNode], object]] = {
    f"{_PREFIX}{name}": SafeConstructor.yaml_constructors[f"{_PREFIX}{name}"]
    for name in ("null", "bool", "int", "float", "binary", "timestamp", "str")
}


class ScalarError(Exception):
    """A scalar that can't become a value; `rule` is the rule it breaks."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        super().__init__(message)


def implicit_tag(text: str) -> str | None:
    """Return the tag of a plain scalar without one, None for a string."""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            # PyYAML resolves a lone '=' to a type that it can't construct: it is a string.
            return None if tag == f"{_PREFIX}value" else tag
    return None


def construct(tag: str, text: str) -> object:
    """Return the value of a scalar. Raises `ScalarError`."""
    if tag == "!retval":
        return Retval(_name(tag, text, "a job id"))
    if tag == "!secret":
        return Secret(_name(tag, text, "the name of a secret"))
    if tag == f"{_PREFIX}merge":
        return MERGE
    constructor = _CONSTRUCTORS.get(tag)
    if constructor is None:
        raise ScalarError("tag", unknown_tag(tag))
    if tag in _NUMBERS and len(text) > MAX_NUMBER_LENGTH:
        message = f"a number of {len(text)} characters is too long; put quotes around text"
        raise ScalarError("value", message)
    try:
        return constructor(_SAFE, yaml.ScalarNode(tag, text))
    # What PyYAML's constructors raise for text that does not fit the tag.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError) as error:
        kind = tag.removeprefix(_PREFIX)
        message = f"{quoted(text)} is not a valid {kind}; put quotes around text"
        raise ScalarError("value", message) from error


def unknown_tag(tag: str) -> str:
    """Return the message for a tag that is not ours."""
    shown = f"!!{tag.removeprefix(_PREFIX)}" if tag.startswith(_PREFIX) else tag
    message = f"unknown tag {quoted(shown)}; only !retval and !secret can be used"
    if tag.startswith(f"{_PREFIX}python"):
        message += ", and no tag ever executes Python"
    return message


def _name(tag: str, text: str, what: str) -> str:
    name = text.strip()
    if not name:
        raise ScalarError("tag", f"{tag} needs {what}")
    return name
