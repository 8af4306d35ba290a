"""The grid: jobs by their last builds, with the search and the filters of the list of jobs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from builds.admin import asking
from builds.admin.job_list import ListOfJobs
from builds.admin.live import PARAMETER, instead, live_page
from builds.models import Build
from builds.pages import refreshing
from builds.pages.figures import Figures
from builds.pages.recent import IN_GRID, Bar, bar, figures_of, recent_builds
from builds.pages.stamps import grid_stamp
from builds.status import JobStatus, job_statuses
from jobs.models import Job

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Job]
else:
    Base = object

PER_PAGE = 40
# Shapes with what they mean.
MARKS = (
    ("successful", "successful"),
    ("failed", "failed"),
    ("skipped", "skipped: there was nothing to do"),
    ("cancelled", "cancelled"),
    ("running", "running"),
    ("waiting", "not begun yet"),
)
MAY_SEE_BUILDS = "builds.view_build"


@dataclass(frozen=True)
class GridRow:
    """A job with where it stands and its last builds, newest first."""

    job: Job
    status: JobStatus
    bars: Sequence[Bar]
    figures: Figures


class GridList(ListOfJobs):
    """The jobs of one page of the grid."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Leave the large texts out."""
        found = super().get_queryset(request, exclude_parameters)
        return found.defer("config_text", "docs", "notes")


class Look:
    """What the grid and its stamp are both made from, looked up once."""

    def __init__(self, jobs: GridList) -> None:
        self.list = jobs
        self.jobs = jobs.shown()

    @cached_property
    def builds(self) -> dict[str, list[Build]]:
        """The last builds of the page's jobs."""
        return recent_builds([job.pk for job in self.jobs])

    def rows(self) -> list[GridRow]:
        """Return the rows of the page."""
        statuses = self.list.known_statuses or job_statuses(self.jobs, with_builds=False)
        now = timezone.now()
        return [self._row(job, statuses[job.pk], now) for job in self.jobs]

    def _row(self, job: Job, status: JobStatus, now: datetime) -> GridRow:
        own = self.builds.get(job.pk, [])
        return GridRow(job, status, [bar(one, now) for one in own], figures_of(own))


class GridMixin(Base):
    """Adds the grid to the admin of jobs."""

    def get_urls(self) -> list[URLPattern]:
        """Add the grid."""
        view = self.admin_site.admin_view(require_safe(self.grid_page))
        return [path("grid/", view, name="jobs_grid"), *super().get_urls()]

    def grid_page(self, request: HttpRequest) -> HttpResponse:
        """Show jobs by their last builds, or what is new of them."""
        if not (self.has_view_permission(request) and request.user.has_perm(MAY_SEE_BUILDS)):
            raise PermissionDenied
        try:
            look = Look(self._grid_list(request))
        except IncorrectLookupParameters:
            return instead(request, lambda: HttpResponseRedirect(reverse("admin:jobs_grid")))

        def make() -> dict[str, Any]:
            return asking.page_context(
                request,
                self,
                title="Grid",
                cl=look.list,
                rows=look.rows(),
                in_grid=IN_GRID,
                marks=MARKS,
                pagination_required=look.list.multi_page,
                refresh_seconds=refreshing.of_grid(
                    look.builds.values(), looks_at_all=bool(look.list.known_statuses)
                ),
            )

        stamp = lambda: grid_stamp(look.jobs, look.builds)  # noqa: E731
        return live_page(request, "builds/grid.html", stamp=stamp, make=make)

    def _grid_list(self, request: HttpRequest) -> GridList:
        """Return the chosen jobs; the stamp of a refresh is no filter, and stands in no link."""
        asked = copy.copy(request)
        chosen = request.GET.copy()
        chosen.pop(PARAMETER, None)
        asked.GET = QueryDict(chosen.urlencode())
        return GridList(
            asked,
            self.model,
            ["__str__"],
            [],
            self.get_list_filter(request),
            None,
            self.get_search_fields(request),
            False,
            PER_PAGE,
            PER_PAGE,
            (),
            self,
            (),
            str(self.search_help_text),
        )
