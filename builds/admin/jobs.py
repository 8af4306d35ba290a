"""Jobs in the admin: where they stand, and the means to build them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from builds import history, services
from builds.admin import asking
from builds.admin.arming import ArmPage
from builds.admin.build_form import BuildFormPage
from builds.admin.elsewhere import start_of_job
from builds.admin.filters import YesNoMenu
from builds.admin.graph import GraphMixin
from builds.admin.grid import GridMixin
from builds.admin.job_list import JobChangeList, ProblemMenu, StatusFilter, TagMenu, row_of
from builds.admin.job_page import Look, job_page
from builds.admin.live import PARAMETER, live_page
from builds.admin.live_list import LiveListMixin
from builds.admin.shared import partial, user_of
from builds.models import Build
from builds.pages import refreshing
from builds.pages.list_stamps import jobs_stamp
from builds.pages.stamps import job_stamp
from jobcontrol.exceptions import JobControlException
from jobs.admin import JobAdmin
from jobs.models import Job

_get_or_post = method_decorator(require_http_methods(["GET", "HEAD", "POST"]))


@admin.register(Job)
class BuildableJobAdmin(GraphMixin, GridMixin, LiveListMixin, JobAdmin):
    """Jobs, with where they stand and the means to build them."""

    list_display = ["state", "name", "needs", "builds", "next_run", "button"]
    list_display_links = None  # the name is a link
    list_filter = [
        StatusFilter,
        TagMenu,
        ("protected", YesNoMenu),
        ("retired", YesNoMenu),
        ProblemMenu,
    ]
    show_facets = admin.ShowFacets.NEVER  # counting by status would look at every build
    sortable_by = ()  # the order is that of the file
    change_list_template = "builds/job_list.html"
    actions = ["build_selected", "arm_selected"]

    # --- The list

    def get_changelist(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> type[ChangeList]:
        """Use the list that knows the jobs' states."""
        return JobChangeList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Leave the buttons out for those who have none."""
        return [one for one in self.list_display if one != "button" or asking.may_run(request)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; what its buttons send carries the mark of this very page."""
        more = {
            "nonce": asking.new_nonce(),
            "graph_url": reverse("admin:jobs_graph"),
            "config_path": settings.JOBCONTROL_CONFIG,
            **(extra_context or {}),
        }
        return super().changelist_view(request, more)

    def list_stamp(self, request: HttpRequest) -> str:  # noqa: ARG002 - any build may decide
        """Look at what may change how any job stands: cheaper than how those of a page stand."""
        return jobs_stamp()

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again while a build of a job of the page waits or runs."""
        return refreshing.of_rows(bool(row_of(job).status.unfinished) for job in rows)

    @admin.display(description="status")
    def state(self, job: Job) -> SafeString:
        """Where the job stands."""
        return partial("builds/_job_status.html", status=row_of(job).status)

    @admin.display(description="job")
    def name(self, job: Job) -> SafeString:
        """Title and id with a link, tags, and what is to be known of it."""
        return partial("builds/_job_name.html", job=job, row=row_of(job))

    @admin.display(description="needs")
    def needs(self, job: Job) -> SafeString:
        """The jobs whose builds it uses."""
        return partial("builds/_job_needs.html", row=row_of(job))

    @admin.display(description="last builds")
    def builds(self, job: Job) -> SafeString:
        """Builds that wait or run, the newest finished one, and the latest success."""
        return partial("builds/_last_build.html", row=row_of(job), status=row_of(job).status)

    @admin.display(description="next run")
    def next_run(self, job: Job) -> SafeString:
        """When its schedule starts it next."""
        return partial("builds/_next_run.html", row=row_of(job))

    @admin.display(description="start")
    def button(self, job: Job) -> SafeString:
        """The button that builds it, or why there is none."""
        return partial("builds/_job_button.html", job=job, row=row_of(job))

    # --- Rights

    def has_build_permission(self, request: HttpRequest) -> bool:
        """Whether the user may ask for builds."""
        return asking.may_run(request)

    def has_arm_permission(self, request: HttpRequest) -> bool:
        """Whether the user may start builds of protected jobs."""
        return asking.may_arm(request)

    # --- Pages

    def get_urls(self) -> list[URLPattern]:
        """Add the build button, the build form and the page that arms several jobs."""
        wrap = self.admin_site.admin_view
        return [
            path("arm/", wrap(self.arm_page), name="jobs_job_arm"),
            path("<path:object_id>/build/", wrap(self.build_now), name="jobs_job_build"),
            path("<path:object_id>/build-form/", wrap(self.build_form), name="jobs_job_build_form"),
            path("<path:object_id>/schedule/", wrap(self.schedule_view), name="jobs_job_schedule"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one job, with its builds and the build button."""
        job = self._visible_job(request, object_id)
        if job is None:
            return self._not_there(request, object_id)
        look = Look(job, request, is_refresh=PARAMETER in request.GET)

        def make() -> dict[str, Any]:
            context = asking.page_context(
                request, self, title=look.job.label, object_id=object_id, **job_page(look)
            )
            if asking.may_run(request) and not look.job.retired:
                context["commands"] = start_of_job(request, look.job)
            return {**context, **(extra_context or {})}

        def stamp() -> str:
            known = look.job, look.statuses, look.newest, look.last_runs
            return job_stamp(
                *known,
                listed=look.listed if look.sees_builds else (),
                waits=look.waits,
                nobody_serves=look.nobody_serves,
            )

        return live_page(request, "builds/job.html", stamp=stamp, make=make)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Load with jobs whether their schedules are paused, and with one of them by whom."""
        found = super().get_queryset(request)
        match = request.resolver_match
        is_page = match is not None and match.url_name == "jobs_job_change"
        pause = "schedule_pause"
        return found.select_related(f"{pause}__paused_by" if is_page else pause)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Job | None:
        """Find the job; an id that no database can hold is just not there."""
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    @_get_or_post
    def build_form(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put one build together, arm it where that is needed, start it."""
        job = self._visible_job(request, object_id)
        if not asking.may_run(request):
            raise PermissionDenied
        if job is None:
            return self._not_there(request, object_id)
        return BuildFormPage(self, request, job).answer()

    @_get_or_post
    def arm_page(self, request: HttpRequest) -> HttpResponse:
        """Arm several protected jobs and start them together."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return ArmPage(self, request).answer()

    @_get_or_post
    def build_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a build of one job and show it.

        Who had to log in again comes back by GET, which starts nothing.
        """
        job = self._visible_job(request, object_id)
        if not asking.may_run(request):
            raise PermissionDenied
        if job is None:
            return self._not_there(request, object_id)
        if request.method != "POST":
            messages.warning(request, "Nothing was started. Press the button to start a build.")
            return HttpResponseRedirect(asking.job_address(job))
        asked = asking.ask(request, [job], trigger=Build.Trigger.QUICK)
        asking.tell(request, asked)
        made = [*asked.builds, *asked.before]
        if made:
            return asking.lead_to(request, made[0])
        return HttpResponseRedirect(asking.job_address(job))

    @method_decorator(require_POST)
    def schedule_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Pause the job's schedule, or let it go on."""
        job = self._visible_job(request, object_id)
        if not asking.may_run(request):
            raise PermissionDenied
        if job is None:
            return self._not_there(request, object_id)
        try:
            with transaction.atomic():
                if request.POST.get("schedule") == "resume":
                    note = history.RESUMED if services.resume_schedule(job=job) else ""
                else:
                    paused = services.pause_schedule(job=job, user=user_of(request))
                    note = history.PAUSED if paused else ""
                if note:
                    history.note(request.user, job, note)
        except JobControlException as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(asking.job_address(job))

    def _visible_job(self, request: HttpRequest, object_id: str) -> Job | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.get_object(request, unquote(object_id))

    def _not_there(self, request: HttpRequest, object_id: str) -> HttpResponse:
        response: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
            request, self.opts, object_id
        )
        return response

    # --- Actions

    @admin.action(description="Build selected jobs", permissions=["build"])
    def build_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Ask for a build of each selected job that can be built."""
        jobs = list(queryset[: asking.MAX_AT_ONCE + 1])
        if len(jobs) > asking.MAX_AT_ONCE:
            text = f"Only the first {asking.MAX_AT_ONCE} jobs were looked at. Select the others."
            messages.warning(request, text)
        chosen = jobs[: asking.MAX_AT_ONCE]
        asking.tell(request, asking.ask(request, chosen, trigger=Build.Trigger.QUICK))

    @admin.action(description="Arm selected protected jobs…", permissions=["arm"])
    def arm_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse:
        """Show what the selected protected jobs would run, to arm them."""
        ids = list(queryset.values_list("pk", flat=True)[: asking.MAX_AT_ONCE])
        return ArmPage(self, request).show(ids)
