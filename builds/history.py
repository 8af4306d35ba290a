"""The admin's history: who asked for what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model

from jobcontrol.utils.text import clean_text
from jobs import registry

KEPT = "Marked it to be kept."
PAUSED = "Paused its schedule."
RESUMED = "Let its schedule go on."
UNKEPT = "Took the mark away that kept it."
DRAINED = "Asked it to drain."
UNDRAINED = "Took it up again."


def note(user: Any, obj: Model, message: str) -> None:
    """Write a line into the history of a job, a build or a cluster; secrets masked."""
    note_many(user, [obj], message)


def note_many(user: Any, objects: Iterable[Model], message: str) -> None:
    """Write the same line into the history of many jobs or builds."""
    found = list(objects)
    if not found:
        return
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=found,
        action_flag=CHANGE,
        change_message=clean_text(registry.redactor().redact(message), 2_000),
    )
