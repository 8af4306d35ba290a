"""What is around a build, by one query: what its page and its stamp are both made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from builds.deletion_models import Deletion
from builds.models import Build, BuildProgress


@dataclass(frozen=True)
class Glance:
    """Numbers and moments; all but `now` are None where there is none."""

    now: datetime  # in database time, by which reports are stamped
    deletion: int | None = None  # the newest one of this build
    deletion_state: str | None = None
    retry: int | None = None  # the newest build that tries this one again
    moved: datetime | None = None  # when its progress did
    previous: int | None = None  # build of the job
    plan_waits: int | None = None  # how many builds of its plan wait for others, while it goes on
    last_success: int | None = None  # before it, where it did not succeed itself


def glance_at(build: Build) -> Glance:
    """Look at what is around a build now."""
    wanted = {
        name: Subquery(rows.values(column)[:1])
        for name, (rows, column) in _questions(build).items()
    }
    found = Build.objects.filter(pk=build.pk).annotate(**wanted).values(*wanted, now=Now()).first()
    return Glance(**found) if found else Glance(timezone.now())  # it may just have been deleted


def _questions(build: Build) -> dict[str, tuple[QuerySet[Any], str]]:
    deletions = Deletion.objects.filter(build_number=build.pk, job=build.job_id).order_by("-pk")
    earlier = Build.objects.filter(job=build.job_id, pk__lt=build.pk).newest_first()
    questions: dict[str, tuple[QuerySet[Any], str]] = {
        "deletion": (deletions, "pk"),
        "deletion_state": (deletions, "state"),
        "retry": (build.retries.order_by("-pk"), "pk"),
        "previous": (earlier, "pk"),
    }
    if build.plan_id and not build.finished:
        waiting = Build.objects.waiting().filter(plan=build.plan_id).order_by()
        counted = waiting.values("plan").annotate(number=Count("pk"))
        questions["plan_waits"] = (counted, "number")
    if build.started:
        reports = BuildProgress.objects.filter(build=build)
        questions["moved"] = (reports.order_by("-updated"), "updated")
    if build.status in (Build.Status.FAILED, Build.Status.CANCELLED):
        questions["last_success"] = (earlier.successful(), "pk")
    return questions
