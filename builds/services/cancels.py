"""Cancelling: at once what no worker holds, by a flag what runs.

What waits for a cancelled build is cancelled with it, once that has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models.functions import Now

from builds import story
from builds.models import Build
from builds.services import observations, promotions
from jobcontrol.exceptions import BuildStateError, NotFound

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

CHUNK = 1_000  # builds that are cancelled in one transaction

Status = Build.Status


def cancel_build(*, build: Build, requested_by: User | None = None) -> Build:
    """Cancel a build: one that waits is CANCELLED at once, one that runs is told to end.

    A running one becomes CANCELLED when its function has ended, or was killed. Asking again
    changes nothing. Raises BuildStateError for a build that has ended otherwise, NotFound for one
    that was deleted.
    """
    with transaction.atomic():
        if not _cancel_waiting([build.pk], requested_by):
            _ask_running([build.pk], requested_by)
    try:
        build.refresh_from_db()
    except Build.DoesNotExist:
        raise NotFound(f"build #{build.pk} is not there any more.") from None
    if build.finished and build.status != Status.CANCELLED:
        raise BuildStateError(
            f"build #{build.pk} is {build.get_status_display()} already and can't be cancelled."
        )
    return build


def cancel_builds(
    *,
    builds: Iterable[int],
    requested_by: User | None = None,
    why: str = "",
    note: Callable[[Sequence[int]], object] | None = None,
) -> list[int]:
    """Cancel those of these builds (by number) that have not ended; return their numbers.

    `why` stands in the log of those that had not begun. Of very many some are cancelled at a time,
    each time all of them or none, so that no worker waits long: `note` is called with the numbers
    of those, in that transaction. Whoever is cut off in between asks again for the rest.
    """
    found: list[int] = []
    # What uses a build has a higher number: it is cancelled by itself, before it would be with it.
    ordered = sorted(builds, reverse=True)
    for start in range(0, len(ordered), CHUNK):
        numbers = ordered[start : start + CHUNK]
        with transaction.atomic():
            cancelled = _cancel_waiting(numbers, requested_by, why)
            cancelled += _ask_running(numbers, requested_by)
            if note is not None and cancelled:
                note(cancelled)
        found += cancelled
    return found


def say_cancelled(*, build_id: int) -> None:
    """Say in the log of a build that it was cancelled, and by whom."""
    build = Build.objects.select_related("cancel_requested_by").get(pk=build_id)
    by = f" by {build.cancel_requested_by}" if build.cancel_requested_by else ""
    observations.say(build_id=build_id, level=logging.WARNING, message=f"Build cancelled{by}.")


def _cancel_waiting(numbers: Sequence[int], requested_by: User | None, why: str = "") -> list[int]:
    # Locked first: of a claim and a cancel at the same moment one comes before the other.
    waiting = Build.objects.unstarted().filter(pk__in=numbers).order_by("pk")
    found = list(waiting.select_for_update(no_key=True).values_list("pk", flat=True))
    Build.objects.filter(pk__in=found).update(
        status=Status.CANCELLED,
        end_time=Now(),
        cancel_requested=Now(),
        cancel_requested_by=requested_by,
    )
    _tell(found, requested_by, running=False)
    by = f" by {requested_by}" if requested_by else ""
    text = f"Build cancelled{by} before it began{f': {why}' if why else '.'}"
    observations.say_each(messages=dict.fromkeys(found, text), level=logging.WARNING)
    promotions.settle_after(
        list(Build.objects.in_plan().filter(pk__in=found).values_list("pk", flat=True))
    )
    return found


def _ask_running(numbers: Sequence[int], requested_by: User | None) -> list[int]:
    running = Build.objects.running().filter(pk__in=numbers).order_by("pk")
    found = list(running.select_for_update(no_key=True).values_list("pk", flat=True))
    Build.objects.filter(pk__in=found, cancel_requested=None).update(
        cancel_requested=Now(), cancel_requested_by=requested_by
    )
    _tell(found, requested_by, running=True)
    return found


def _tell(numbers: Sequence[int], user: User | None, *, running: bool) -> None:
    def tell() -> None:
        for number in numbers:
            story.tell(logger, "cancel", build=number, running=running, user=user)

    transaction.on_commit(tell)
