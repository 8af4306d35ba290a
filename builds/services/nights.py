"""The nightly upkeep: one cluster does it, and another one goes on if that one dies."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from builds.database_time import seconds_ago
from builds.schedule_models import ScheduledRun
from builds.token_models import UsedNonce
from builds.upkeep_models import BulkDeletion, Night
from builds.workers import WorkerIdentity

# Without a word for so long, the cluster that does a night's upkeep has died of it.
LOST_SECONDS = 600.0
NONCES_KEPT = timedelta(days=90)
CHOICES_KEPT = timedelta(days=1)
RECORDS_KEPT = timedelta(days=90)
CHUNK = 2_000


def begin_night(*, night: date, worker: WorkerIdentity) -> bool:
    """Take the upkeep of a night, or take it over from a lost cluster; return whether it is ours.

    Of any number of clusters that ask, the one that made the row has it.
    """
    with transaction.atomic():
        _, is_new = Night.objects.get_or_create(
            date=night, defaults={"worker": str(worker), "last_seen": Now()}
        )
    if is_new:
        return True
    lost = Q(worker=str(worker)) | Q(last_seen__lt=seconds_ago(LOST_SECONDS))
    free = Night.objects.filter(lost, date=night, ended=None)
    return bool(free.update(worker=str(worker), last_seen=Now()))


def hold_night(*, night: date, worker: WorkerIdentity) -> bool:
    """Say that the upkeep goes on; return whether it is still this cluster's."""
    own = Night.objects.filter(date=night, worker=str(worker), ended=None)
    return bool(own.update(last_seen=Now()))


def end_night(*, night: date, worker: WorkerIdentity) -> None:
    """Record that the upkeep of a night is done."""
    Night.objects.filter(date=night, worker=str(worker), ended=None).update(ended=Now())


def forget_old() -> int:
    """Delete some of the records that nobody needs any more; return how many, 0 at last.

    Old nonces, choices of builds that nobody confirmed, and what is known of ended ones, of nights
    and of scheduled times.
    """
    old = [
        UsedNonce.objects.filter(created__lt=_ago(NONCES_KEPT)),
        BulkDeletion.objects.filter(asked=None, created__lt=_ago(CHOICES_KEPT)),
        BulkDeletion.objects.filter(ended__lt=_ago(RECORDS_KEPT)),
        Night.objects.filter(started__lt=_ago(RECORDS_KEPT)),
        *(
            ScheduledRun.objects.filter(state=state, due__lt=_ago(RECORDS_KEPT))
            for state in ScheduledRun.State
            if state not in ScheduledRun.OPEN
        ),
    ]
    for rows in old:
        keys = list(rows.order_by().values_list("pk", flat=True)[:CHUNK])
        if keys:
            rows.model._default_manager.filter(pk__in=keys).delete()
            return len(keys)
    return 0


def _ago(age: timedelta) -> object:
    return seconds_ago(age.total_seconds())
