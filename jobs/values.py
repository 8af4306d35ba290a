"""Values that a person types: arguments as YAML in a form, on a command line, over the API."""

from __future__ import annotations

from typing import Any

from jobcontrol.exceptions import InvalidRequest
from jobs import parsing, tags
from jobs.parsing import YamlError

MAX_TEXT = 256 * 1024  # characters


class ValueProblem(InvalidRequest):
    """Text that is no YAML, or not of the kind that is wanted; `line` counts from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}" if line else message)


def parse_arguments(text: str) -> list[Any]:
    """Return a list of positional arguments; empty text is none. Raises ValueProblem."""
    value = parse_value(text)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueProblem("positional arguments must be a list, such as [1, two] or - lines")
    return value


def parse_keywords(text: str) -> dict[str, Any]:
    """Return named arguments; empty text is none. Raises ValueProblem."""
    value = parse_value(text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueProblem("named arguments must be a mapping, such as url: http://example.com")
    wrong = [repr(name) for name in value if not isinstance(name, str)]
    if wrong:
        raise ValueProblem(f"an argument's name must be text: {', '.join(wrong[:10])}")
    return value


def parse_value(text: str) -> Any:
    """Return one value, with the parser (and the bounds) of the configuration file."""
    if len(text) > MAX_TEXT:
        raise ValueProblem(f"longer than {MAX_TEXT:,} characters")
    if not text.strip():
        return None
    try:
        document = parsing.parse(text)
    except YamlError as error:
        raise ValueProblem(error.findings[-1].message, error.findings[-1].line) from error
    if document.findings:
        raise ValueProblem(document.findings[0].message, document.findings[0].line)
    return document.value


def to_text(value: object) -> str:
    """Return a value as YAML for a form's field; nothing for an empty list or mapping.

    `!retval` and `!secret` stay references. A text in which a secret's value stood shows a mask,
    and can't be typed back: see `can_be_typed`.
    """
    return tags.to_yaml(value) if value else ""


def can_be_typed(value: object) -> bool:
    """Whether `to_text` gives text that means the same when it is typed back."""
    return not tags.references_in(value, tags.Text)
