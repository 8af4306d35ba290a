"""Removing reserved builds that have nothing to clean up: with all their rows, many at a time.

In short transactions: first the log rows, which may be many, then the builds. What is cut off in
between is found again, as the deletions still wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, LogMessage

ROWS = 2_000  # log rows per transaction
BUILDS = 200  # builds per transaction

_CALLS_NOTHING = Q(cleanup_function="") | Q(cleanup=False)


def remove_log_rows(*, builds: Sequence[int]) -> int:
    """Delete some of the log rows of builds that are being deleted; return how many, 0 at last."""
    rows = LogMessage.objects.filter(build__in=builds, build__deleting=True).order_by()
    ids = list(rows.values_list("pk", flat=True)[:ROWS])
    return LogMessage.objects.filter(pk__in=ids).delete()[0] if ids else 0


def waiting_removals(*, limit: int = BUILDS) -> list[int]:
    """Return the numbers of the first builds that wait for their removal without any cleanup."""
    waiting = Deletion.objects.filter(_CALLS_NOTHING, state=Deletion.State.WAITING)
    return list(waiting.order_by("id").values_list("build_number", flat=True)[:limit])


def remove_builds(*, builds: Sequence[int]) -> int:
    """Delete those of these builds whose removal waits, and end their deletions.

    Return how many. One that a worker has taken meanwhile is left to it.
    """
    with transaction.atomic():
        waiting = Deletion.objects.filter(
            _CALLS_NOTHING, state=Deletion.State.WAITING, build_number__in=builds
        ).order_by("id")
        held = dict(waiting.select_for_update(skip_locked=True).values_list("pk", "build_number"))
        delete_builds(numbers=list(held.values()))
        ended = Deletion.objects.filter(pk__in=held)
        ended.filter(cleanup_function="").update(
            state=Deletion.State.DONE, outcome=Deletion.Outcome.NO_CLEANUP, ended=Now()
        )
        ended.exclude(cleanup_function="").update(
            state=Deletion.State.DONE, outcome=Deletion.Outcome.SKIPPED, ended=Now()
        )
        forget_pruned(numbers=list(held.values()))
    return len(held)


def delete_builds(*, numbers: Sequence[int]) -> None:
    """Delete builds with all their rows; in the caller's transaction."""
    _lock_what_changes(numbers)
    builds = Build.objects.filter(pk__in=numbers)
    # First: whoever ends one of them just now says so in its log, and that row has to go as well.
    list(builds.order_by("pk").select_for_update().values_list("pk", flat=True))
    builds.delete()


def _lock_what_changes(numbers: Sequence[int]) -> None:
    """Lock what refers to these builds, too, each kind in one order.

    Of two who delete builds that use each other, or are tried again by each other, one waits at
    the first row that both change; else each could hold what the other one needs.
    """
    retries = Build.objects.filter(Q(pk__in=numbers) | Q(retry_of__in=numbers))
    links = BuildDependency.objects.filter(Q(build__in=numbers) | Q(dep_build__in=numbers))
    for rows in (retries, links):
        list(rows.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))


def forget_pruned(*, numbers: Sequence[int]) -> None:
    """Forget the deletions of builds that went by the file's retention with nothing to tell."""
    Deletion.objects.filter(
        build_number__in=numbers,
        pruned=True,
        state=Deletion.State.DONE,
        outcome=Deletion.Outcome.NO_CLEANUP,
    ).delete()
