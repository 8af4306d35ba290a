"""What a job's page shows, as plain values for its template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from django.contrib.admin.utils import quote
from django.core.paginator import Page
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from builds import context_processors
from builds.admin.paging import BoundedPaginator
from builds.facts import jobs_and_links
from builds.forms import BuildFilter
from builds.models import Build
from builds.pages import refreshing
from builds.pages.recent import newest_of_strip, strip
from builds.pages.schedule import last_runs, schedule_part
from builds.readiness import why_not
from builds.schedule_models import ScheduledRun
from builds.status import JobStatus, job_statuses, reason
from builds.upkeep_models import Cluster
from builds.waiting import reasons, unserved
from jobs import tags
from jobs.docs import call_code_of
from jobs.models import Job
from jobs.rst import rst_to_html

BUILDS_SHOWN = 25  # per page
NEIGHBOURS_SHOWN = 100


@dataclass
class Look:
    """What a job's page and its stamp are both made from, looked up once."""

    job: Job
    request: HttpRequest
    is_refresh: bool = False

    @cached_property
    def jobs_and_links(self) -> tuple[dict[str, Job], dict[str, list[str]]]:
        """All jobs, with what a neighbour shows, and what each depends on."""
        return jobs_and_links("title", "protected", "retired")

    @property
    def links(self) -> dict[str, list[str]]:
        """What each job depends on."""
        return self.jobs_and_links[1]

    @cached_property
    def users(self) -> list[str]:
        """The jobs that depend on this one."""
        return [name for name, needs in self.links.items() if self.job.pk in needs]

    @cached_property
    def neighbours(self) -> list[list[Job]]:
        """The first jobs that it needs, and the first that need it."""
        jobs = self.jobs_and_links[0]
        lists = (self.links.get(self.job.pk, []), self.users)
        return [[jobs[name] for name in names[:NEIGHBOURS_SHOWN]] for names in lists]

    @cached_property
    def statuses(self) -> dict[str, JobStatus]:
        """Where all these stand."""
        return job_statuses([self.job, *chain(*self.neighbours)], self.links)

    @cached_property
    def clusters(self) -> list[Cluster]:
        """The clusters that live, or did a few seconds ago."""
        return context_processors.live_clusters()

    @cached_property
    def newest(self) -> list[Build]:
        """The builds of the strip."""
        return newest_of_strip(self.job)

    @cached_property
    def last_runs(self) -> list[ScheduledRun]:
        """The last times at which its schedule was due."""
        return last_runs(self.job)

    @cached_property
    def waits(self) -> dict[int, str]:
        """What its builds on the page wait for that have not begun, by number."""
        builds = {build.pk: build for build in self.status.unfinished}
        if self.sees_builds:
            builds |= {build.pk: build for build in self.listed}
        return reasons(builds.values(), {self.job.pk: self.job.concurrency}, self.clusters)

    @cached_property
    def nobody_serves(self) -> str:
        """That no live cluster serves the job's queue; "" where one does."""
        return "" if self.job.retired else unserved(self.job.queue, self.clusters)

    @cached_property
    def chosen(self) -> BuildFilter:
        """Which of its builds are asked for."""
        return BuildFilter(self.request.GET or None, auto_id="builds-%s", label_suffix="")

    @cached_property
    def listed(self) -> Page[Build]:
        """The page of its builds that is asked for."""
        own = Build.objects.filter(job=self.job)
        wanted = self.chosen.chosen(own) if self.chosen.is_bound else own
        rows = wanted.order_by("-id").select_related("requested_by")
        pages, asked = BoundedPaginator(rows, BUILDS_SHOWN), self.request.GET.get("page")
        # A page that is open has rows, mostly.
        return pages.page_uncounted(asked) if self.is_refresh else pages.get_page(asked)

    @property
    def sees_builds(self) -> bool:
        """Whether its builds are the reader's to see."""
        return bool(self.request.user.has_perm("builds.view_build"))

    @property
    def status(self) -> JobStatus:
        """Where the job stands."""
        return self.statuses[self.job.pk]


def job_page(look: Look) -> dict[str, Any]:
    """Return where the job stands, what it does, its neighbours and its builds."""
    job, statuses = look.job, look.statuses
    needs, needed_by = look.neighbours
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
        "needed_by_hidden": len(look.users) - len(needed_by),
        "unserved": look.nobody_serves,
        "schedule": schedule_part(job, look.last_runs),
        "graph_url": reverse("admin:jobs_job_graph", args=[quote(job.pk)]),
        **(_builds(look) if look.sees_builds else {}),
    }


# --- Builds ---------------------------------------------------------------------------------------


def _builds(look: Look) -> dict[str, Any]:
    chosen, page, waits = look.chosen, look.listed, look.waits
    standing = _standing(look.status, page)
    return {
        "strip": strip(look.newest, timezone.now()),
        "standing": [build_line(build, waits) for build in standing],
        "builds_filter": chosen,
        "builds_filtered": chosen.is_bound and any(chosen.cleaned_data.values()),
        "builds_page": page,
        "builds_pages": page.paginator.get_elided_page_range(
            page.number, on_each_side=2, on_ends=1
        ),
        "builds": [build_line(build, waits) for build in page],
    }


def _standing(status: JobStatus, page: Iterable[Build]) -> list[Build]:
    """Return the unfinished builds, then the latest success, then the last failure.

    Mostly the page has them all already.
    """
    last = [status.latest_successful_build_id, status.last_failed_build_id]
    numbers = [build.pk for build in status.unfinished] + [number for number in last if number]
    builds = {build.pk: build for build in page}
    others = [number for number in numbers if number not in builds]
    if others:
        builds |= Build.objects.select_related("requested_by").in_bulk(others)
    return [builds[number] for number in numbers if number in builds]


def build_line(build: Build, waits: Mapping[int, str]) -> dict[str, Any]:
    """Return a build for a row of a list; `waits` says what for, by number."""
    return {
        "build": build,
        "duration": build.duration(timezone.now()),
        "reason": reason(build) or waits.get(build.pk, ""),
    }
