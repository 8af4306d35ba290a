"""What running builds report: stored by the recorder's thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from builds import bulk, logs, progress
from builds.models import BuildProgress, LogMessage

if TYPE_CHECKING:
    from builds.sessions import BuildSession


def store_observations(
    *, session: BuildSession, entries: list[logs.LogEntry], nodes: list[progress.Node]
) -> None:
    """Insert log records and update progress rows, redacted: all of them or none.

    The rows are made before the transaction begins. SQLite has one writer at a time and no queue
    of those who wait: if a job that logs without a pause made its rows under that lock, nobody
    else would get it, not even who cancels the job.
    """
    log_rows = bulk.log_values(entries, build_id=session.build_id, redactor=session.redactor)
    progress_rows = _progress_rows(session, nodes)
    # Part of what ends a build, all of it is undone when this fails: no savepoint is needed.
    with transaction.atomic(savepoint=False):
        bulk.insert_log_rows(log_rows)
        if progress_rows:
            store_progress(build_id=session.build_id, rows=progress_rows)


def say(*, build_id: int, level: int, message: str) -> None:
    """Write a line of our own into a build's log, past any worker."""
    say_each(messages={build_id: message}, level=level)


def say_each(*, messages: Mapping[int, str], level: int) -> None:
    """Write a line of our own into the log of each of these builds."""
    now = timezone.now()
    bulk.insert_rows(
        LogMessage,
        ("build", "created", "level", "logger", "message", "place", "origin"),
        ((number, now, level, "jobcontrol", text, "", "") for number, text in messages.items()),
    )


def store_progress(*, build_id: int, rows: list[dict[str, Any]]) -> None:
    """Insert or update progress rows (see `builds.progress.row_values`).

    `updated` is in database time: pages count from it for how long nothing came, and the clocks of
    hosts may differ.
    """
    now = Now()
    BuildProgress.objects.bulk_create(
        [BuildProgress(build_id=build_id, updated=now, **row) for row in rows],
        update_conflicts=True,
        unique_fields=["build", "group_digest"],
        update_fields=[
            "current",
            "total",
            "status_line",
            "updated",
            "first_current",
            "seconds",
            "reports",
        ],
    )


def _progress_rows(session: BuildSession, nodes: list[progress.Node]) -> list[dict[str, Any]]:
    # Two paths may be one once secrets are masked and long names are cut: the later one counts.
    rows = (progress.row_values(node, session.redactor) for node in nodes)
    return list({row["group_digest"]: row for row in rows}.values())
