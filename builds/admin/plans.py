"""Plans in the admin: their list, how one goes on, cancelling and resuming it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from builds import history, services
from builds.admin import asking, filters
from builds.admin.live import instead, live_page
from builds.admin.resuming import ResumePage
from builds.admin.shared import LongListMixin, partial, user_of
from builds.pages import refreshing
from builds.pages.list_stamps import plans_look
from builds.pages.plan import Look, counts_in_words, plan_page
from builds.pages.stamps import plan_stamp
from builds.plan_models import Plan
from builds.plan_status import plan_statuses
from jobs.admin import ReadOnlyMixin, rights

if TYPE_CHECKING:
    PlanAdminBase = admin.ModelAdmin[Plan]
else:
    PlanAdminBase = admin.ModelAdmin


@admin.register(Plan)
class PlanAdmin(LongListMixin, ReadOnlyMixin, PlanAdminBase):
    """Builds that were asked for together, newest first."""

    list_display = ["number", "state", "job_link", "asked"]
    list_display_links = ["number"]
    # By state it would have to look at the builds of every plan.
    list_filter = [filters.JobFilter, filters.PeriodFilter]
    list_select_related = ["job", "requested_by", "resumes"]
    list_per_page = 50
    search_fields = ["id"]  # see get_search_results
    search_help_text = "A number, or a part of a job's id or title"
    change_list_template = "builds/plans.html"

    # --- The list

    @admin.display(description="plan")
    def number(self, plan: Plan) -> str:
        """The plan's number."""
        return f"Plan {plan.pk}"

    @admin.display(description="state")
    def state(self, plan: Any) -> SafeString:
        """Where it stands, and how many of its builds stand where."""
        counts = counts_in_words(plan.status)
        return partial("builds/_plan_state.html", status=plan.status, counts=counts)

    @admin.display(description="for the job")
    def job_link(self, plan: Plan) -> SafeString:
        """The target, with a link to it."""
        return partial("builds/_job_named.html", job=plan.job, perms=rights(plan))

    @admin.display(description="asked for")
    def asked(self, plan: Plan) -> SafeString:
        """Who asked for it, and when."""
        return partial("builds/_plan_asked.html", plan=plan)

    def complete(self, rows: list[Any]) -> None:
        """Tell how the plans of the page stand."""
        statuses = plan_statuses(rows)
        for plan in rows:
            plan.status = statuses[plan.pk]

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Plan],
        search_term: str,
    ) -> tuple[QuerySet[Plan], bool]:
        """Search by number and by job."""
        return filters.search(request, queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the link "plans of this job"."""
        return lookup == "job__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Load the job and the user with each plan."""
        found = super().get_queryset(request).select_related("job", "requested_by", "resumes")
        return found.defer("job__config", "job__config_text", "job__docs", "job__notes")

    def look(self, rows: QuerySet[Any]) -> object:
        """Look at which plans there are, and at what may change how any of them stands."""
        return plans_look(rows)

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again while a plan of the page waits or runs."""
        return refreshing.of_rows(not plan.status.finished for plan in rows)

    # --- One plan

    def get_urls(self) -> list[URLPattern]:
        """Add the buttons' addresses."""
        guard = self.admin_site.admin_view
        return [
            path("<int:number>/cancel/", guard(self.cancel_view), name="builds_plan_cancel"),
            path("<int:number>/resume/", guard(self.resume_view), name="builds_plan_resume"),
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
        """Show one plan: its graph, its builds and what they wait for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        plan = self.get_object(request, unquote(object_id))
        if plan is None:
            owner: Any = self
            return instead(
                request,
                lambda: owner._get_obj_does_not_exist_redirect(request, self.opts, object_id),
            )
        found, look = plan, Look(plan)

        def make() -> dict[str, Any]:
            context = asking.page_context(
                request,
                self,
                title=f"Plan {found.pk}",
                object_id=object_id,
                fits=request.GET.get("fit") == "1",
                **plan_page(
                    look,
                    request.GET,
                    sees_builds=request.user.has_perm("builds.view_build"),
                ),
            )
            return {**context, **(extra_context or {})}

        return live_page(
            request, "builds/plan.html", stamp=lambda: plan_stamp(found, look.followers), make=make
        )

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Cancel what has not ended of a plan."""
        plan = self._plan_or_404(request, number)
        # First: it was asked for, even if this is cut off before all of it is done.
        history.note(request.user, plan, "Asked to cancel it.")
        text = f"Asked to cancel plan {plan.pk}."
        cancelled = services.cancel_plan(
            plan=plan,
            requested_by=user_of(request),
            note=lambda numbers: history.note_builds(request.user, numbers, text),
        )
        if cancelled:
            count = len(cancelled)
            text = f"Cancelled, or told to stop: {count:,} build{'s' if count > 1 else ''}."
            self.message_user(request, text, messages.SUCCESS)
        else:
            text = "All its builds have ended: nothing was cancelled."
            self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:builds_plan_change", args=[plan.pk]))

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def resume_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Show what would be built again, arm it where that is needed, start it."""
        return ResumePage(self, request, self._plan_or_404(request, number)).answer()

    def _plan_or_404(self, request: HttpRequest, number: int) -> Plan:
        """Return the plan for somebody who may start and cancel builds."""
        if not (self.has_view_permission(request) and asking.may_run(request)):
            raise PermissionDenied
        plan = self.get_queryset(request).filter(pk=number).first()
        if plan is None:
            raise Http404(f"There is no plan {number}.")
        return plan
