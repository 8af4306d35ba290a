"""Builds in the admin, and what jobs get of them: states, a button, an action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from builds import services, views
from builds.models import Build, Deletion
from builds.status import JobStatus, job_statuses, reason
from jobcontrol.exceptions import JobControlException
from jobcontrol_site import output
from jobs.admin import JobAdmin, ReadOnlyMixin
from jobs.models import Job

if TYPE_CHECKING:
    BuildAdminBase = admin.ModelAdmin[Build]
    DeletionAdminBase = admin.ModelAdmin[Deletion]
else:
    BuildAdminBase = DeletionAdminBase = admin.ModelAdmin

MAY_BUILD = "builds.add_build"


class ListOfOurs(ChangeList):
    """A list that takes a filter no database can answer for what it is: a mistake."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Filter; a NUL in a filter leads back to the whole list, as other odd filters do."""
        values = (value for found in self.get_filters_params().values() for value in found)
        if any("\x00" in value for value in values):
            raise IncorrectLookupParameters
        return super().get_queryset(request, exclude_parameters)


@admin.register(Build)
class BuildAdmin(ReadOnlyMixin, BuildAdminBase):
    """All builds, newest first, and everything recorded about each; jobs have the buttons."""

    list_display = ["number", "status_badge", "job_link", "times", "origin"]
    list_display_links = ["number"]
    list_filter = ["status", "trigger", "failure_kind"]
    list_select_related = ["job", "requested_by"]
    list_per_page = 100
    show_full_result_count = False
    search_fields = ["job__id", "job__title"]
    search_help_text = "Search in ids and titles of jobs"
    sortable_by = ["number"]

    @admin.display(description="build", ordering="id")
    def number(self, build: Build) -> str:
        """The build's number."""
        return f"#{build.pk}"

    @admin.display(description="job")
    def job_link(self, build: Build) -> SafeString:
        """The job, with a link to it, and why the build failed or was skipped."""
        return _partial("builds/_job_of_build.html", job=build.job, reason=reason(build))

    @admin.display(description="status")
    def status_badge(self, build: Build) -> SafeString:
        """The status, in its colour."""
        return _partial("builds/_badge.html", status=build.status)

    @admin.display(description="started")
    def times(self, build: Build) -> SafeString:
        """When it started and how long it took, or when it was asked for."""
        took = output.seconds(build.duration(timezone.now()))
        return _partial("builds/_times.html", build=build, took=took)

    @admin.display(description="asked by")
    def origin(self, build: Build) -> SafeString:
        """Who or what asked for it."""
        return _partial("builds/_origin.html", build=build)

    def get_changelist(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> type[ChangeList]:
        """Use the list that bears odd filters."""
        return ListOfOurs

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the links "builds of this job" and "builds that use this one"."""
        allowed = ("job__id__exact", "inputs__dep_build__id__exact")
        return lookup in allowed or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one build."""
        build = self.get_object(request, unquote(object_id))
        if build is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if not self.has_view_permission(request, build):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **views.build_page(build, request.GET),
            "title": f"Build #{build.pk}",
            "opts": self.opts,
            "object_id": object_id,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "builds/build.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Build]:
        """Load the job and the user with each build."""
        return super().get_queryset(request).select_related("job", "requested_by")


@admin.register(Deletion)
class DeletionAdmin(ReadOnlyMixin, DeletionAdminBase):
    """What was deleted, by whom, and how the cleanup went."""

    list_display = ["label", "job", "outcome", "requested_by", "created"]
    list_filter = ["outcome"]
    list_select_related = ["job", "requested_by"]
    search_fields = ["job__id", "job__title"]
    show_full_result_count = False
    fields = [
        "build_number",
        "job",
        "outcome",
        "requested_by",
        "created",
        "cleanup_function",
        "log_text",
        "traceback_text",
    ]

    @admin.display(description="build", ordering="build_number")
    def label(self, deletion: Deletion) -> str:
        """The number that the build had."""
        return f"#{deletion.build_number}"

    @admin.display(description="log of the cleanup")
    def log_text(self, deletion: Deletion) -> SafeString | None:
        """What the cleanup function logged."""
        return _partial("builds/_text.html", text=deletion.log) if deletion.log else None

    @admin.display(description="traceback")
    def traceback_text(self, deletion: Deletion) -> SafeString | None:
        """How the cleanup failed."""
        links = views.traceback_links(deletion.traceback)
        return _partial("builds/_traceback.html", links=links) if links else None


class JobChangeList(ListOfOurs):
    """Looks up where the jobs of the shown page stand, all at once."""

    statuses: dict[str, JobStatus]

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then its states."""
        super().get_results(request)
        self.statuses = job_statuses(self.result_list)
        for job in self.result_list:
            job.shown_status = self.statuses[job.pk]


admin.site.unregister(Job)


@admin.register(Job)
class BuildableJobAdmin(JobAdmin):
    """Jobs, with where they stand and the means to build them."""

    list_display = ["status_badge", "name", "tag_list", "last_build", "remarks"]
    list_display_links = None  # type: ignore[assignment]  # the name is a link
    sortable_by = ()  # the order is that of the file
    change_form_template = "builds/job.html"
    actions = ["build_selected"]

    def get_changelist(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> type[ChangeList]:
        """Use the list that knows the jobs' states."""
        return JobChangeList

    @admin.display(description="status")
    def status_badge(self, job: Job) -> SafeString:
        """Where the job stands, and why."""
        return _partial("builds/_job_status.html", status=_status_of(job))

    @admin.display(description="job")
    def name(self, job: Job) -> SafeString:
        """Title and id, with a link."""
        return _partial("builds/_job_link.html", job=job)

    @admin.display(description="remarks")
    def remarks(self, job: Job) -> SafeString:
        """Whether it is protected or retired, and its problem."""
        return _partial("builds/_job_remarks.html", job=job, status=_status_of(job))

    @admin.display(description="last build")
    def last_build(self, job: Job) -> SafeString:
        """The newest finished build and those that wait or run."""
        return _partial("builds/_last_build.html", status=_status_of(job))

    def has_build_permission(self, request: HttpRequest) -> bool:
        """Whether the user may ask for builds."""
        return request.user.has_perm(MAY_BUILD)

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the build button."""
        build = path(
            "<path:object_id>/build/",
            self.admin_site.admin_view(self.build_now),
            name="jobs_job_build",
        )
        return [build, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one job, with its builds and the build button."""
        job = self.get_object(request, unquote(object_id))
        found: dict[str, Any] = {}
        if job is not None and self.has_view_permission(request, job):
            found = views.job_page(job, may_build=self.has_build_permission(request))
        context = {**found, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Job | None:
        """Find the job; an id that no database can hold is just not there."""
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    @method_decorator(require_POST)
    def build_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a build of one job and show it."""
        if not (self.has_build_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        builds = self._request_builds(request, [job])
        if builds and request.user.has_perm("builds.view_build"):
            return HttpResponseRedirect(
                reverse("admin:builds_build_change", args=[quote(builds[0].pk)])
            )
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[quote(job.pk)]))

    @admin.action(description="Build selected jobs", permissions=["build"])
    def build_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Ask for a build of each selected job that can be built."""
        self._request_builds(request, list(queryset))

    def _request_builds(self, request: HttpRequest, jobs: Sequence[Job]) -> list[Build]:
        """Ask for builds, note them in the jobs' history and tell the user what came of it."""
        builds = []
        for job in jobs:
            try:
                build = services.request_build(
                    job=job, trigger=Build.Trigger.QUICK, requested_by=_user(request)
                )
            except JobControlException as error:
                self.message_user(request, str(error), messages.ERROR)
                continue
            builds.append(build)
            self.log_change(request, job, f"Asked for build #{build.pk}.")
        if builds:
            asked = ", ".join(f"#{build.pk} of {build.job_id}" for build in builds)
            self.message_user(request, f"Queued: build {asked}.", messages.SUCCESS)
        return builds


def _user(request: HttpRequest) -> Any:
    return request.user if request.user.is_authenticated else None


def _status_of(job: Job) -> JobStatus:
    """Return what `JobChangeList` looked up."""
    status: JobStatus = job.shown_status  # type: ignore[attr-defined]
    return status


def _partial(template: str, **context: Any) -> SafeString:
    return SafeString(render_to_string(template, context))
