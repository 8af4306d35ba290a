"""Cells of lists that name their column, and ids that break at their joints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from django import template
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_JOINT = re.compile(r"(?<=[-_./:,])(?=[^-_./:,])")
_SHORT = 24  # characters; what fits on a line by itself is left whole
_CELL = re.compile(r"<t[dh](?=[ >])")


@register.filter
def keyed(rows: Iterable[Any], shown: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Give each row of a list, as Django's admin makes it, the key of what it shows."""
    for row, one in zip(rows, shown, strict=True):
        yield one.pk, row


@register.filter
def labelled(cells: Iterable[Any], headers: Iterable[Mapping[str, Any]]) -> Iterator[SafeString]:
    """Give each cell of a row, as Django's admin makes them, the name of its column."""
    for cell, header in zip_longest(cells, headers):
        if cell is None:
            return
        yield _labelled(conditional_escape(cell), header or {})


def _labelled(cell: SafeString, header: Mapping[str, Any]) -> SafeString:
    start = _CELL.match(cell)
    is_choice = "action-checkbox-column" in str(header.get("class_attrib") or "")
    if start is None or is_choice or not header.get("text"):
        return cell
    label = _label(str(header["text"]))
    # Both halves are the admin's own HTML.
    return SafeString(f"{cell[: start.end()]}{label}{cell[start.end() :]}")


@lru_cache(maxsize=200)
def _label(text: str) -> SafeString:
    return format_html(' data-label="{}"', text)


@register.filter
def breakable(text: str) -> SafeString:
    """Let a long id break after its hyphens, underscores, dots and the like, if it must."""
    if len(text) <= _SHORT:
        return conditional_escape(text)
    joints = (conditional_escape(part) for part in _JOINT.split(str(text)))
    return mark_safe("<wbr>".join(joints))  # noqa: S308 - each part is escaped
