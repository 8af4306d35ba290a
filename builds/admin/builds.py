"""Builds in the admin: the list, and everything recorded about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString

from builds.admin import filters
from builds.admin.build_views import MAY_DELETE, MAY_UNPICKLE
from builds.admin.comparing import ComparingViews
from builds.admin.elsewhere import Commands, start_of_build
from builds.admin.live import instead, live_page
from builds.admin.shared import LongListMixin, partial, user_of
from builds.admin.telling import say
from builds.deletion_models import Deletion
from builds.models import Build
from builds.pages import refreshing
from builds.pages.build import Look, build_page
from builds.pages.deletion import bulk_deletion_page
from builds.pages.list_stamps import builds_look
from builds.pages.stamps import build_stamp
from builds.status import reason
from builds.waiting import reasons
from jobs.admin import ReadOnlyMixin


@admin.register(Build)
class BuildAdmin(LongListMixin, ReadOnlyMixin, ComparingViews):
    """All builds, newest first, and everything recorded about each; jobs have the buttons."""

    list_display = ["number", "status_badge", "job_link", "times", "origin"]
    list_display_links = ["number"]
    list_filter = [
        filters.StageFilter,
        ("status", filters.ChoiceMenu),
        filters.JobFilter,
        filters.PeriodFilter,
        ("trigger", filters.ChoiceMenu),
        ("failure_kind", filters.ChoiceMenu),
        ("keep", filters.YesNoMenu),
    ]
    list_select_related = ["job", "requested_by"]
    search_fields = ["id"]  # see get_search_results
    search_help_text = "A number, or a part of a job's id or title"
    change_list_template = "builds/builds.html"
    actions = ["compare_selected", "cancel_selected", "delete_selected"]

    # --- the list ---

    @admin.display(description="build")
    def number(self, build: Build) -> str:
        """The build's number."""
        return f"#{build.pk}"

    @admin.display(description="job")
    def job_link(self, build: Build) -> SafeString:
        """The job, with a link to it, and why the build failed, was skipped or waits."""
        waits: Any = build.waits  # type: ignore[attr-defined]  # see complete
        why = reason(build) or waits.get(build.pk, "")
        return partial("builds/_job_of_build.html", job=build.job, reason=why)

    @admin.display(description="status")
    def status_badge(self, build: Build) -> SafeString:
        """The status, in its colour."""
        return partial("builds/_status_of_build.html", build=build)

    @admin.display(description="started")
    def times(self, build: Build) -> SafeString:
        """When it started and how long it took, or when it was asked for."""
        duration = build.duration(timezone.now())
        return partial("builds/_times.html", build=build, duration=duration)

    @admin.display(description="asked by")
    def origin(self, build: Build) -> SafeString:
        """Who or what asked for it."""
        return partial("builds/_origin.html", build=build)

    def complete(self, rows: list[Any]) -> None:
        """Say what each build of the page waits for: looked up if the page is shown at all."""
        waits: Any = SimpleLazyObject(lambda: reasons(rows))
        for build in rows:
            build.waits = waits

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Build],
        search_term: str,
    ) -> tuple[QuerySet[Build], bool]:
        """Search by number and by job."""
        return filters.search(request, queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the links "builds of this job", "of this plan" and "that use this one"."""
        allowed = ("job__id__exact", "plan__id__exact", "inputs__dep_build__id__exact")
        return lookup in allowed or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Build]:
        """Load the job and the user with each build."""
        return super().get_queryset(request).select_related("job", "requested_by")

    def look(self, rows: QuerySet[Any]) -> object:
        """Look at the builds, and at what those wait for that have not begun."""
        return builds_look(rows)

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again while a build of the page waits or runs."""
        return refreshing.of_rows(not build.finished for build in rows)

    # --- one build ---

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one build, or what became of it."""
        build = self.get_object(request, unquote(object_id))
        if build is None:
            return instead(request, lambda: self._gone(request, object_id))
        if not self.has_view_permission(request, build):
            raise PermissionDenied
        found, look = build, Look(build)

        def make() -> dict[str, Any]:
            page = build_page(look, request.GET)
            return {
                **self.admin_site.each_context(request),
                **page,
                "commands": self._commands(request, found, page),
                "title": f"Build #{found.pk}",
                "opts": self.opts,
                "object_id": object_id,
                "may_delete": request.user.has_perm(MAY_DELETE),
                "may_cancel": self.has_cancel_permission(request),
                "may_unpickle": request.user.has_perm(MAY_UNPICKLE),
                **(extra_context or {}),
            }

        def stamp() -> str:
            return build_stamp(found, look.around, look.waits_for)

        return live_page(request, "builds/build.html", stamp=stamp, make=make)

    def _commands(
        self, request: HttpRequest, build: Build, page: dict[str, Any]
    ) -> Commands | None:
        """Return what starts the same from elsewhere, for those who may start it."""
        if build.job.retired or not self.has_cancel_permission(request):
            return None
        return start_of_build(request, build.job, page["inputs"], page["payload"])

    def _gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Lead to the deletion of a build that was deleted, else to the start, with a word."""
        number = unquote(object_id)
        is_number = number.isascii() and number.isdecimal() and len(number) < 19
        deletions = Deletion.objects.filter(state=Deletion.State.DONE)
        deletion = deletions.filter(build_number=int(number)).first() if is_number else None
        if deletion is not None and request.user.has_perm("builds.view_deletion"):
            gone = {"number": number, "job": deletion.job_id}
            say(request, messages.WARNING, "deleted", **gone)
            page = reverse("admin:builds_deletion_change", args=[deletion.pk])
            return HttpResponseRedirect(page)
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]

    # --- deletion ---

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Whether the user may ask for deletions; what is in use is refused later, with why."""
        return request.user.has_perm(MAY_DELETE) and self.has_view_permission(request)

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002 - Django's signature
    ) -> HttpResponse:
        """Ask whether to delete a build, and how; a worker does it."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        build = self.get_object(request, unquote(object_id))
        if build is None:
            return self._gone(request, quote(object_id))
        return self.confirm_deletion(request, build)

    @admin.action(description="Delete selected builds", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Build]) -> HttpResponse:
        """Ask whether to delete these builds, and how; workers do it."""
        return self._page(
            request,
            "builds/delete_many.html",
            "Delete these builds?",
            bulk_deletion_page(queryset, user_of(request)),
        )
