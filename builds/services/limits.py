"""How many builds of a job run at the same time: `concurrency` of the job, as the file has it now.

Every RUNNING build counts, whoever runs it.
"""

from __future__ import annotations

import logging
from functools import partial

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Count, F, QuerySet

from builds import queue
from builds.models import Build, BuildQuerySet
from jobcontrol.exceptions import LimitReached
from jobs.models import Job

logger = logging.getLogger(__name__)


def startable(builds: BuildQuerySet) -> BuildQuerySet:
    """Return those of `builds` whose jobs may have one more running now.

    Only a look: others may look at the same moment. `keep_limit` decides.
    """
    return builds.exclude(job__in=_full_jobs())


def _full_jobs() -> QuerySet[Build, str]:
    running = Build.objects.running().filter(job__concurrency__isnull=False).order_by()
    counted = running.values("job_id", "job__concurrency").annotate(count=Count("pk"))
    return counted.filter(count__gte=F("job__concurrency")).values_list("job_id", flat=True)


def keep_limit(*, job: Job) -> None:
    """Raise LimitReached when the claim of this transaction is one too many for the job.

    Claims of one job come one after another through the lock on its row, which lasts to the end of
    the transaction. The builds are counted after it was got, in a statement of its own: that sees
    all who had it before.
    """
    locked = Job.objects.select_for_update(no_key=True).filter(pk=job.pk)
    limit = locked.values_list("concurrency", flat=True).get()
    if limit is not None and Build.objects.running().filter(job=job).count() > limit:
        raise LimitReached(job.pk, limit)


def refuse_full(*, job: Job) -> None:
    """Raise LimitReached when no further build of the job may run now."""
    limit = job.concurrency
    if limit is not None and Build.objects.running().filter(job=job).count() >= limit:
        raise LimitReached(job.pk, limit)


def wake_next(*, job_id: str) -> None:
    """Once this transaction is committed, wake a worker for a build that waited for its end.

    Its own wake-up came while the job was full, and was for nothing.
    """
    transaction.on_commit(partial(_wake_next, job_id))


def _wake_next(job_id: str) -> None:
    waiting = Build.objects.eligible().filter(job=job_id, job__concurrency__isnull=False)
    try:
        # Newest first: a database that goes by number would read all history before the oldest.
        name = waiting.newest_first().values_list("queue", flat=True).first()
    except (DatabaseError, InterfaceError) as error:
        # What ended is recorded, and must not seem to have failed.
        text = "nobody is woken for the next build of %s (%s); the supervisor will do it"
        logger.warning(text, job_id, error)
        return
    if name is not None:
        queue.wake(queue=name)
