"""Stored tracebacks as pages show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobcontrol.utils import TracebackInfo

_CAUSED = "which directly caused:"
_DURING = "and while this was being handled:"


@dataclass(frozen=True)
class TracebackLink:
    """One exception of a chain; `joiner` says how the one before it led here."""

    info: TracebackInfo
    joiner: str
    group: Sequence[Sequence[TracebackLink]]


def traceback_links(value: Mapping[str, Any] | None) -> list[TracebackLink]:
    """Return the exceptions of a stored traceback, the first cause first."""
    return list(_links(TracebackInfo.from_json(value))) if value else []


def _links(info: TracebackInfo) -> Iterator[TracebackLink]:
    before: TracebackInfo | None = None
    for link in info.chain():
        joiner = ""
        if before is not None:
            joiner = _CAUSED if link.cause is before else _DURING
        # Groups are bounded where they are taken down.
        yield TracebackLink(link, joiner, [list(_links(member)) for member in link.group])
        before = link
