"""The expanded configuration as text that may be shown: every secret masked.

Values elsewhere in the text are masked by value, which leaves very short ones alone; in the
sections that hold nothing but secrets every scalar is masked, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from yaml._yaml import CParser

from jobs.redaction import MASK, Redactor

# Top-level keys, and the key within them where only one value is secret.
_SECRET_PLACES = {"secret": None, "webapp": "SECRET_KEY"}
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def masked_text(expanded: str, redactor: Redactor) -> str:
    """Return `expanded` (YAML that was loaded before, so it is right) without its secrets."""
    parts, position = [], 0
    for start, end, anchor in _secret_scalars(expanded):
        # An anchor stays, because an alias may stand elsewhere.
        parts += [expanded[position:start], f"&{anchor} {MASK}" if anchor else MASK]
        position = end
    parts.append(expanded[position:])
    return redactor.redact("".join(parts))


def _secret_scalars(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Yield where the scalars stand that must not be shown, and their anchors."""
    path: list[str | None] = []  # the key that is open on each level, None before a key was read
    is_mapping: list[bool] = []
    parser = CParser(text)
    while (event := parser.get_event()) is not None:
        if isinstance(event, _OPENING):
            is_mapping.append(isinstance(event, yaml.MappingStartEvent))
            path.append(None)
        elif isinstance(event, _CLOSING):
            is_mapping.pop()
            path.pop()
            _close_value(path, is_mapping)
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and path:
            if is_mapping[-1] and path[-1] is None:
                path[-1] = getattr(event, "value", "")
                continue
            if isinstance(event, yaml.ScalarEvent) and event.value and _is_secret(path):
                yield _start(event), _end(text, event), event.anchor
            _close_value(path, is_mapping)


def _close_value(path: list[str | None], is_mapping: list[bool]) -> None:
    """A value ended: the next scalar of a mapping is a key again."""
    if path and is_mapping[-1]:
        path[-1] = None


def _is_secret(path: list[str | None]) -> bool:
    if path[0] not in _SECRET_PLACES:
        return False
    within = _SECRET_PLACES[path[0]]
    return within is None or (len(path) > 1 and path[1] == within)


def _start(event: Any) -> int:
    return int(event.start_mark.index)


def _end(text: str, event: Any) -> int:
    """Return where the scalar ends: a block scalar's last line break does not belong to it."""
    end = int(event.end_mark.index)
    while end > _start(event) and text[end - 1] in "\r\n ":
        end -= 1
    return end
