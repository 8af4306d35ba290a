"""What the admin pages of jobs and builds show, as plain values for their templates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils import timezone

from builds.models import Build, BuildPayload, LogMessage
from builds.progress import progress_tree
from builds.status import reason
from builds.workers import WorkerIdentity
from jobcontrol.utils import ProgressReport, TracebackInfo

LOG_LINES = 200  # per page
CONSUMERS_SHOWN = 50
PROGRESS_SHOWN = 500
LEVELS = [logging.getLevelName(level) for level in (10, 20, 30, 40, 50)]

_CAUSED = "which directly caused:"
_DURING = "and while this was being handled:"


# --- Builds ---------------------------------------------------------------------------------------


def build_page(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    """Return everything recorded about a build; `query` chooses the part of the log."""
    payload = BuildPayload.objects.defer("retval", "config").filter(pk=build.pk).first()
    consumers = Build.objects.filter(inputs__dep_build=build).newest_first()
    worker = WorkerIdentity.parse(build.worker)
    return {
        "build": build,
        "reason": reason(build),
        "payload": payload,
        "duration": build.duration(timezone.now()),
        "worker": worker.label if worker else build.worker,
        "inputs": build.inputs.select_related("job", "dep_build").order_by("pk"),
        "consumers": consumers.select_related("job")[:CONSUMERS_SHOWN],
        "consumer_count": consumers.count(),
        "traceback": traceback_links(payload.traceback) if payload else [],
        **_progress(build, query),
        **_log(build, query),
    }


def _progress(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    if not build.progress.exists():
        return {"progress": [], "progress_hidden": 0}
    tree = progress_tree(build)
    total = sum(1 for _ in tree.walk())
    limit = total if query.get("progress") == "all" else PROGRESS_SHOWN
    return {
        "progress": progress_rows(tree, limit),
        "progress_hidden": max(total - limit, 0),
    }


@dataclass(frozen=True)
class ProgressRow:
    """One bar of a nested list: does it open a list below it, how many lists end after it."""

    label: str
    current: int
    total: int
    percent: str
    status_line: str
    shown: int  # what the bar shows, within 0 and `total`
    opens: bool
    closes: range


def progress_rows(tree: ProgressReport, limit: int) -> list[ProgressRow]:
    """Return the first `limit` bars of a tree, flat: templates should not recurse that deep."""
    nodes = list(islice(tree.walk(), limit))
    depths = [depth for depth, _ in nodes[1:]] + [0]
    return [
        _progress_row(node, opens=below > depth, closes=max(depth - below, 0))
        for (depth, node), below in zip(nodes, depths, strict=True)
    ]


def _progress_row(node: ProgressReport, *, opens: bool, closes: int) -> ProgressRow:
    current, total = node.current, node.total
    return ProgressRow(
        label="Total" if node.name is None else node.name,
        current=current,
        total=total,
        percent=node.percent_human,
        status_line=node.status_line or "",
        shown=min(max(current, 0), max(total, 0)),
        opens=opens,
        closes=range(closes),
    )


def _log(build: Build, query: Mapping[str, str]) -> dict[str, Any]:
    level = query.get("level", "").upper()
    text = query.get("q", "").replace("\x00", "")
    messages = LogMessage.objects.filter(build=build)
    if level in LEVELS:
        messages = messages.filter(level__gte=logging.getLevelName(level))
    if text:
        messages = messages.filter(message__icontains=text)
    page = _page(messages.order_by("pk"), query.get("page", ""))
    return {
        "log_page": page,
        "log_pages": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "log_lines": [_log_line(message) for message in page],
        "log_level": level if level in LEVELS else "",
        "log_text": text,
        "log_levels": LEVELS,
        "log_is_filtered": bool(text or level in LEVELS),
    }


def _page(messages: QuerySet[LogMessage], number: str) -> Page[LogMessage]:
    return Paginator(messages, LOG_LINES).get_page(number)


def _log_line(message: LogMessage) -> dict[str, Any]:
    return {
        "message": message,
        "level": logging.getLevelName(message.level),
        "traceback": traceback_links(message.exception),
    }


# --- Tracebacks -----------------------------------------------------------------------------------


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
