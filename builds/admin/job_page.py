"""What a job's page shows, as plain values for its template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.utils import quote
from django.core.paginator import Paginator
from django.db.models import Q, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from builds.forms import BuildFilter
from builds.models import Build
from builds.pages import refreshing
from builds.pages.recent import strip_of
from builds.pages.schedule import schedule_part
from builds.readiness import why_not
from builds.status import JobStatus, job_statuses, reason
from builds.waiting import reasons, unserved
from jobs import tags
from jobs.docs import call_code_of
from jobs.models import Job
from jobs.rst import rst_to_html

BUILDS_SHOWN = 25  # per page
NEIGHBOURS_SHOWN = 100


def job_page(job: Job, request: HttpRequest) -> dict[str, Any]:
    """Return where the job stands, what it does, its neighbours and its builds."""
    needs = [link.depends_on for link in _links(job.dependency_links, "depends_on")]
    needed_by = [link.job for link in _links(job.dependent_links, "job")]
    statuses = job_statuses({one.pk: one for one in [job, *needs, *needed_by]}.values())
    docs = job.docs if isinstance(job.docs, dict) else {}
    return {
        "job": job,
        "status": statuses[job.pk],
        "refresh_seconds": refreshing.of_job(statuses[job.pk]),
        "why_not": why_not([job], statuses)[job.pk],
        "notes": rst_to_html(job.notes),
        "signature": docs.get("signature", ""),
        "docstring": rst_to_html(docs.get("docstring", "")),
        "call": call_code_of(job.function, tags.decode(job.config)),
        "needs": [(one, statuses[one.pk]) for one in needs],
        "needed_by": [(one, statuses[one.pk]) for one in needed_by],
        "needs_hidden": max(len(statuses[job.pk].dependencies) - len(needs), 0),
        "needed_by_hidden": max(job.dependent_links.count() - len(needed_by), 0),
        "unserved": "" if job.retired else unserved(job.queue),
        "schedule": schedule_part(job),
        "graph_url": reverse("admin:jobs_job_graph", args=[quote(job.pk)]),
        **(_builds(job, statuses[job.pk], request) if _may_see_builds(request) else {}),
    }


def _links(links: Any, name: str) -> list[Any]:
    order = "position" if name == "depends_on" else "job__position"
    return list(links.select_related(name).order_by(order)[:NEIGHBOURS_SHOWN])


def _may_see_builds(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("builds.view_build"))


# --- Builds ---------------------------------------------------------------------------------------


def _builds(job: Job, status: JobStatus, request: HttpRequest) -> dict[str, Any]:
    own = Build.objects.filter(job=job)
    chosen = BuildFilter(request.GET or None, auto_id="builds-%s", label_suffix="")
    wanted = chosen.chosen(own) if chosen.is_bound else own
    listed = wanted.order_by("-id").select_related("requested_by")
    page = Paginator(listed, BUILDS_SHOWN).get_page(request.GET.get("page"))
    standing = _standing(job, status)
    waits = reasons([*standing, *page])
    return {
        "strip": strip_of(job),
        "standing": [build_line(build, waits) for build in standing],
        "builds_filter": chosen,
        "builds_filtered": chosen.is_bound and any(chosen.cleaned_data.values()),
        "builds_page": page,
        "builds_pages": page.paginator.get_elided_page_range(
            page.number, on_each_side=2, on_ends=1
        ),
        "builds": [build_line(build, waits) for build in page],
    }


def _standing(job: Job, status: JobStatus) -> list[Build]:
    """Return the unfinished builds, then the latest success, then the last failure."""
    failed = Build.objects.filter(job=job, status=Build.Status.FAILED).newest_first().values("pk")
    numbers = [build.pk for build in status.unfinished]
    numbers += filter(None, [status.latest_successful_build_id])
    found = Build.objects.filter(Q(pk__in=numbers) | Q(pk=Subquery(failed[:1])))
    builds = {build.pk: build for build in found.select_related("requested_by").order_by()}
    bad = [number for number in builds if number not in numbers]
    return [builds[number] for number in [*numbers, *bad] if number in builds]


def build_line(build: Build, waits: Mapping[int, str]) -> dict[str, Any]:
    """Return a build for a row of a list; `waits` says what for, by number."""
    return {
        "build": build,
        "duration": build.duration(timezone.now()),
        "reason": reason(build) or waits.get(build.pk, ""),
    }
