"""The admin's history: who asked for what."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model

from jobcontrol.utils.text import clean_text
from jobs import registry


def note(user: Any, obj: Model, message: str) -> None:
    """Write a line into the history of a job or a build; secrets masked."""
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=[obj],
        action_flag=CHANGE,
        change_message=clean_text(registry.redactor().redact(message), 2_000),
        single_object=True,
    )
