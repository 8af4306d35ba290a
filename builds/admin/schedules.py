"""Scheduled runs in the admin: when jobs are due by themselves, and what became of each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from builds.admin import filters
from builds.admin.filters import ChoiceMenu, JobFilter
from builds.admin.live_list import LiveRowMixin
from builds.admin.shared import LongListMixin, partial
from builds.pages import refreshing
from builds.pages.list_stamps import is_about_to_change, runs_look
from builds.schedule_models import ScheduledRun
from jobs import schedules
from jobs.admin import ReadOnlyMixin, rights

if TYPE_CHECKING:
    ScheduledRunAdminBase = admin.ModelAdmin[ScheduledRun]
else:
    ScheduledRunAdminBase = admin.ModelAdmin


@admin.register(ScheduledRun)
class ScheduledRunAdmin(LongListMixin, LiveRowMixin, ReadOnlyMixin, ScheduledRunAdminBase):
    """Due times of jobs, with what became of them."""

    list_display = ["due_at", "job_link", "by_entry", "state_badge", "build_link", "reason_text"]
    list_display_links = ["due_at"]
    list_filter = [("state", ChoiceMenu), JobFilter]
    list_select_related = ["job", "build"]
    is_by_number = False
    search_fields = ["build_number"]  # see get_search_results
    search_help_text = "A build's number, or a part of a job's id or title"
    change_list_template = "builds/scheduled_runs.html"
    change_form_template = "builds/live_row.html"
    fields = [
        "job_link", "by_entry", "due_at", "state_badge", "reason_text", "build_link", "decided_at"
    ]  # fmt: skip

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[ScheduledRun],
        search_term: str,
    ) -> tuple[QuerySet[ScheduledRun], bool]:
        """Search by a build's number and by job."""
        return filters.search(request, queryset, search_term, number="build_number"), False

    def look(self, rows: QuerySet[Any]) -> object:
        """Look at what became of the times."""
        return runs_look(rows)

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again while a time of the page is about to come, or waits."""
        return refreshing.of_rows(is_about_to_change(run) for run in rows)

    @admin.display(description="due")
    def due_at(self, run: ScheduledRun) -> SafeString:
        """When it is or was due."""
        return partial("builds/_moment.html", at=run.due)

    @admin.display(description="job")
    def job_link(self, run: ScheduledRun) -> SafeString:
        """The job, with a link to it."""
        return partial("builds/_job_named.html", job=run.job, perms=rights(run))

    @admin.display(description="by")
    def by_entry(self, run: ScheduledRun) -> SafeString | None:
        """Which entry of the schedule, as long as the file has it."""
        name = schedules.name_of(run.job.schedules, run.entry)
        return partial("builds/_run_entry.html", name=name) if name else None

    @admin.display(description="state")
    def state_badge(self, run: ScheduledRun) -> SafeString:
        """What became of it, in its colour."""
        return partial("builds/_run_state.html", run=run)

    @admin.display(description="build")
    def build_link(self, run: ScheduledRun) -> SafeString | None:
        """The build that it made."""
        if not run.build_number:
            return None
        return partial("builds/_run_build.html", run=run, perms=rights(run))

    @admin.display(description="why not")
    def reason_text(self, run: ScheduledRun) -> str | None:
        """Why it was not started."""
        return run.reason or None

    @admin.display(description="decided")
    def decided_at(self, run: ScheduledRun) -> SafeString | None:
        """When that was decided."""
        return partial("builds/_moment.html", at=run.decided) if run.decided else None
