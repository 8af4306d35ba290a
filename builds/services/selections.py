"""Deleting very many builds: a stored choice, of which deletions are made bit by bit."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from builds import history
from builds.services import deletions
from builds.upkeep_models import BulkDeletion, BulkDeletionPart
from jobcontrol.exceptions import NotFound

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PART = 100  # builds of which deletions are made at a time
STORED_AT_ONCE = 10_000  # numbers in one statement
MOST = 1_000_000  # builds of one choice


def choose_builds(*, builds: Iterable[int], requested_by: User | None) -> BulkDeletion:
    """Store the choice of builds, by their numbers; at most `MOST` of them."""
    with transaction.atomic():
        bulk = BulkDeletion.objects.create(requested_by=requested_by, count=0)
        count = 0
        chosen = islice(builds, MOST)
        while numbers := list(islice(chosen, STORED_AT_ONCE)):
            BulkDeletionPart.objects.bulk_create(
                BulkDeletionPart(bulk=bulk, numbers=numbers[start : start + PART])
                for start in range(0, len(numbers), PART)
            )
            count += len(numbers)
        BulkDeletion.objects.filter(pk=bulk.pk).update(count=count)
        bulk.count = count
    return bulk


def confirm_choice(*, number: int, requested_by: User | None, cleanup: bool) -> BulkDeletion:
    """Have the builds of a choice deleted, which the same person made; once is enough.

    Raises NotFound for a choice of somebody else, or one that was forgotten.
    """
    own = BulkDeletion.objects.filter(pk=number, requested_by=requested_by)
    own.filter(asked=None).update(asked=Now(), cleanup=cleanup)
    bulk = own.first()
    if bulk is None:
        raise NotFound("that choice of builds is too old: choose them again.")
    return bulk


def hand_over_part() -> bool:
    """Make the deletions of the next part of any confirmed choice; return whether there was one."""
    with transaction.atomic():
        waiting = BulkDeletionPart.objects.filter(bulk__asked__isnull=False).order_by("pk")
        part = waiting.select_for_update(skip_locked=True, of=("self",)).first()
        if part is None:
            return False
        bulk = BulkDeletion.objects.select_related("requested_by").get(pk=part.bulk_id)
        made, refused = deletions.request_deletions(
            builds=part.numbers, requested_by=bulk.requested_by, cleanup=bulk.cleanup, wake=False
        )
        if bulk.requested_by is not None:
            asked = [one.build_number for one in made]
            how = "" if bulk.cleanup else " without cleanup"
            history.note_builds(bulk.requested_by, asked, f"Asked to delete it{how}, with others.")
        part.delete()
        BulkDeletion.objects.filter(pk=bulk.pk).update(
            handed_over=F("handed_over") + len(made), refused=F("refused") + len(refused)
        )
        left = BulkDeletionPart.objects.filter(bulk=OuterRef("pk"))
        BulkDeletion.objects.filter(~Exists(left), pk=bulk.pk).update(ended=Now())
    return True
