"""Builds that stay and builds that go by the retention of the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, TextField
from django.db.models.functions import Cast

from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency
from builds.services import deletions
from builds.status import pinned_builds
from jobcontrol.exceptions import BuildStateError
from jobs.models import Job


def keep_build(*, build: Build, keep: bool = True) -> Build:
    """Mark a build to be kept, or take the mark away; return it.

    No retention and no bulk deletion removes it while it is marked. Raises BuildStateError for one
    that is being deleted.
    """
    if not Build.objects.filter(pk=build.pk, deleting=False).update(keep=keep):
        raise BuildStateError(f"build #{build.pk} is being deleted.")
    build.keep = keep
    return build


def prunable_builds(*, job_id: str, builds: Sequence[int]) -> list[int]:
    """Return those of these builds of a job that a retention may remove, whatever their age.

    Never the latest success, a kept one, one that the file pins, an input of an unfinished build,
    one that is being tried again, an unfinished one, or one that is being deleted.
    """
    unfinished = Build.objects.finished(False)
    uses = BuildDependency.objects.filter(dep_build=OuterRef("pk"))
    uses = uses.exclude(build__status__in=Build.FINISHED)
    found = (
        Build.objects.finished()
        .filter(job_id=job_id, pk__in=builds, keep=False, deleting=False)
        .exclude(Exists(uses))
        .exclude(Exists(unfinished.filter(retry_of=OuterRef("pk"))))
    )
    latest = Build.objects.usable().filter(job_id=job_id).aggregate(newest=Max("pk"))["newest"]
    stay = {latest, *pinned_in_file(job_id)}
    numbers = found.order_by("pk").values_list("pk", flat=True)
    return [number for number in numbers if number not in stay]


def pinned_in_file(job_id: str) -> set[int]:
    """Return the builds of a job that other jobs pin, retired ones too: they may come back."""
    pinning = Job.objects.annotate(text=Cast("config", TextField())).filter(
        text__contains='"pinned_builds"'
    )
    pins = (pinned_builds(job) for job in pinning.only("pk", "config"))
    return {found[job_id] for found in pins if job_id in found}


class Pruned(NamedTuple):
    """How many builds were reserved: to be simply removed, and by a worker after their cleanup."""

    removed: int
    to_clean_up: int


def prune_builds(*, job_id: str, builds: Sequence[int]) -> Pruned:
    """Reserve builds of a job for their removal by the retention; return how many.

    Builds that may not go (any more) stay, see `prunable_builds`.
    """
    with transaction.atomic():
        wanted = Build.objects.filter(pk__in=builds).order_by("pk")
        # Locked before it is asked who uses them: a request for a build locks its inputs too.
        held = list(wanted.select_for_update(skip_locked=True).values_list("pk", flat=True))
        # A cleanup that failed before is tried again; one record of that is enough.
        failed = Deletion.objects.filter(build_number__in=held, pruned=True)
        failed.filter(state=Deletion.State.FAILED).delete()
        free = prunable_builds(job_id=job_id, builds=held)
        made = deletions.reserve(builds=[(number, job_id) for number in free], pruned=True)
    with_function = sum(deletion.calls_function for deletion in made)
    return Pruned(len(made) - with_function, with_function)
