"""Arguments as JSON: what a configuration can hold besides stands as tagged values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobcontrol.exceptions import InvalidRequest
from jobs import registry, tags
from jobs.parsing import MAX_DEPTH

NO_PARTS = "a text in which a secret stands can't be given; name the whole secret: !secret NAME"


def decode_arguments(values: Sequence[Any]) -> list[Any]:
    """Return positional arguments. Raises InvalidRequest for a value that means nothing."""
    return [_decode(f"args[{number}]", value) for number, value in enumerate(values)]


def decode_keywords(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named arguments; the names are names, whatever they look like."""
    return {name: _decode(f"kwargs[{name!r}]", value) for name, value in values.items()}


def _decode(place: str, value: Any) -> Any:
    _bound(place, value)
    try:
        decoded = tags.decode(value)
        _check(decoded)
    except (ValueError, TypeError, LookupError) as error:
        raise InvalidRequest(f"{place}: {error}") from error
    return decoded


def _bound(place: str, value: Any) -> None:
    """Refuse what is nested deeper than a configuration file may be, without recursing."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(isinstance(item, dict) and "!text" in item for item in level):
            raise InvalidRequest(f"{place}: {NO_PARTS}")
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise InvalidRequest(f"{place}: nested more than {MAX_DEPTH} levels deep")


def _check(value: Any) -> None:
    """Refuse references that name nothing."""
    for reference in tags.references_in(value):
        if isinstance(reference, tags.Retval):
            _check_text("!retval", reference.job_id)
        else:
            _check_secret(reference)


def _check_secret(reference: tags.Secret) -> None:
    _check_text("!secret", reference.name)
    _check_text("form", reference.form)
    try:
        registry.redactor().value(reference)
    except KeyError:
        raise ValueError(
            f"!secret {reference.name} is not in the configuration file, or has no such form"
        ) from None


def _check_text(tag: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{tag} must be a text")  # noqa: TRY004 - of the request, not of our code
