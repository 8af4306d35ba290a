"""Plans that a process ran itself and left behind: nobody else would begin what is left of them."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db.models import Q

from builds.database_time import seconds_ago
from builds.models import Build
from builds.plan_models import Plan
from builds.services.plans import cancel_plan
from builds.workers import WorkerIdentity

logger = logging.getLogger(__name__)


def cancel_abandoned_plans(*, patient: bool = False) -> int:
    """Cancel what was not begun of plans whose process is gone; return how many plans.

    A process of this host is looked for. One of another host (or of this one before it was started
    anew) is gone when no build of its plan has run for as long as a lease; not so while `patient`,
    after the database was away. A plan with a running build is left until that has ended.
    """
    left = Build.objects.filter(
        status__in=(Build.Status.CREATED, Build.Status.WAITING), in_place=True, plan__isnull=False
    )
    rows = (
        left.filter(plan__runner__gt="").order_by().values_list("plan", "plan__runner").distinct()
    )
    count = 0
    for number, runner in rows:
        worker = WorkerIdentity.parse(runner)
        if worker is not None and worker.is_here:
            is_gone = not worker.is_alive()
        else:
            is_gone = not patient and _is_silent(number)
        if is_gone and not Build.objects.running().filter(plan=number).exists():
            label = worker.label if worker else runner
            cancel_plan(plan=Plan.objects.get(pk=number), why=f"{label}, which ran it, is gone.")
            logger.error("plan %s: %s, which ran it, is gone; the rest is cancelled", number, label)
            count += 1
    return count


def _is_silent(number: int) -> bool:
    """Whether nothing of the plan was asked for, ended or ran within a lease."""
    since = seconds_ago(settings.LEASE_SECONDS)
    lately = Q(created__gte=since) | Q(end_time__gte=since) | Q(heartbeat__gte=since)
    return not Build.objects.filter(lately, plan=number).exists()
