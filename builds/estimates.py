"""How long running builds still take, as far as that can be told."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from statistics import median

from django.db.models import DurationField, ExpressionWrapper, F, OuterRef, Subquery

from builds.models import Build
from builds.waiting import spoken
from jobs.models import Job

LOOKED_AT = 5  # last successful builds of a job


def usual_durations(job_ids: Collection[str]) -> dict[str, float]:
    """Return the median of the seconds that the last successful builds of jobs took, by job id.

    One query, with a step or two into an index for each of these builds.
    """
    if not job_ids:
        return {}
    took = ExpressionWrapper(F("end_time") - F("start_time"), output_field=DurationField())
    newest = Build.objects.filter(job=OuterRef("pk")).successful().newest_first()
    times = newest.annotate(took=took).values("took")
    columns = {f"took_{n}": Subquery(times[n : n + 1]) for n in range(LOOKED_AT)}
    jobs = Job.objects.filter(pk__in=job_ids).order_by().annotate(**columns)
    found: dict[str, float] = {}
    for name, *durations in jobs.values_list("pk", *columns):
        known = [one.total_seconds() for one in durations if isinstance(one, timedelta)]
        if known:
            found[name] = median(known)
    return found


def time_left(elapsed: float, current: int, total: int, usual: float | None) -> str:
    """Say how long a build still takes: by its rate since it began, else as its job usually does.

    Nothing where nothing can be said.
    """
    if 0 < current < total:
        return f"about {spoken(elapsed * (total - current) / current)} left"
    if usual is None or current >= total > 0:
        return ""
    if elapsed > usual:
        return f"longer than usual ({spoken(usual)})"
    return f"about {spoken(usual - elapsed)} left"
