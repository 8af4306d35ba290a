"""Jobs in the admin: where they stand, and the means to build them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from builds import services, views
from builds.admin.graph import GraphMixin
from builds.admin.shared import ListOfOurs, partial, user_of
from builds.models import Build
from builds.status import JobStatus, job_statuses
from jobcontrol.exceptions import JobControlException
from jobs.admin import JobAdmin
from jobs.models import Job

MAY_BUILD = "builds.run_build"


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
class BuildableJobAdmin(GraphMixin, JobAdmin):
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
        return partial("builds/_job_status.html", status=_status_of(job))

    @admin.display(description="job")
    def name(self, job: Job) -> SafeString:
        """Title and id, with a link."""
        return partial("builds/_job_link.html", job=job)

    @admin.display(description="remarks")
    def remarks(self, job: Job) -> SafeString:
        """Whether it is protected or retired, and its problem."""
        return partial("builds/_job_remarks.html", job=job, status=_status_of(job))

    @admin.display(description="last build")
    def last_build(self, job: Job) -> SafeString:
        """The newest finished build and those that wait or run."""
        return partial("builds/_last_build.html", status=_status_of(job))

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
                    job=job, trigger=Build.Trigger.QUICK, requested_by=user_of(request)
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


def _status_of(job: Job) -> JobStatus:
    """Return what `JobChangeList` looked up."""
    status: JobStatus = job.shown_status  # type: ignore[attr-defined]
    return status
