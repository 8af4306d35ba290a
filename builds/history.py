"""The admin's history: who asked for what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model

from builds.models import Build
from jobcontrol.utils.text import clean_text
from jobs import registry

KEPT = "Marked it to be kept."
PAUSED = "Paused its schedule."
RESUMED = "Let its schedule go on."
UNKEPT = "Took the mark away that kept it."
DRAINED = "Asked it to drain."
UNDRAINED = "Took it up again."


def note_request(user: Any, build: Build, how: str) -> None:
    """Write into a job's history who asked for its build, and `how`, such as "over the API".

    Of a plan also into that of each other job that was armed for it.
    """
    plan = f" with plan {build.plan_id}" if build.plan_id else ""
    armed = "Armed and asked" if build.job.protected else "Asked"
    note(user, build.job, f"{armed} for build #{build.pk}{plan} {how}.")
    if build.plan_id:
        others = Build.objects.filter(plan=build.plan_id, armed=True).exclude(pk=build.pk)
        for other in others.select_related("job").order_by("pk"):
            text = f"Armed it for build #{other.pk} of plan {build.plan_id} {how}."
            note(user, other.job, text)


def note(user: Any, obj: Model, message: str) -> None:
    """Write a line into the history of a job, a build or a cluster; secrets masked."""
    note_many(user, [obj], message)


def note_builds(user: Any, numbers: Sequence[int], message: str) -> None:
    """Write the same line into the history of many builds, given by number."""
    note_many(user, Build.objects.filter(pk__in=numbers).only("job"), message)


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
