"""Builds in the admin: the list, and everything recorded about each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from builds import views
from builds.admin.shared import ListOfOurs, partial
from builds.models import Build
from builds.status import reason
from jobcontrol_site import output
from jobs.admin import ReadOnlyMixin

if TYPE_CHECKING:
    BuildAdminBase = admin.ModelAdmin[Build]
else:
    BuildAdminBase = admin.ModelAdmin


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
        return partial("builds/_job_of_build.html", job=build.job, reason=reason(build))

    @admin.display(description="status")
    def status_badge(self, build: Build) -> SafeString:
        """The status, in its colour."""
        return partial("builds/_badge.html", status=build.status)

    @admin.display(description="started")
    def times(self, build: Build) -> SafeString:
        """When it started and how long it took, or when it was asked for."""
        took = output.seconds(build.duration(timezone.now()))
        return partial("builds/_times.html", build=build, took=took)

    @admin.display(description="asked by")
    def origin(self, build: Build) -> SafeString:
        """Who or what asked for it."""
        return partial("builds/_origin.html", build=build)

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
