"""The page on which a plan that failed is resumed: what would be built again, armed if it must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from builds import arming, history, planning, previews, services
from builds.admin import asking
from builds.admin.build_form import session_of
from builds.admin.shared import user_of
from builds.admin.telling import say
from builds.arming import ArmingRefused, Resumption
from builds.models import Build
from builds.plan_models import Plan
from jobcontrol.exceptions import JobControlException, ProtectedJob
from jobs.models import Job


@dataclass
class ResumePage:
    """One visit to the page: `answer` shows what would be built again, arms or starts it."""

    admin: Any
    request: HttpRequest
    plan: Plan

    def answer(self) -> HttpResponse:
        """Show the page (GET), or do what the pressed button says (POST)."""
        try:
            again = services.resumption_of(self.plan)
            step = self.request.POST.get("step", "") if self.request.method == "POST" else ""
            if step == "arm":
                return self._arm(again)
            if step in ("resume", "start"):
                return self._start(again, arm=step == "start")
            return self._page(again)
        except JobControlException as error:
            # It was resumed meanwhile, perhaps by the same click; or it can't be.
            messages.error(self.request, _sentence(error))
            return HttpResponseRedirect(_address(self.plan))

    def _page(self, again: planning.Plan, **more: Any) -> HttpResponse:
        wanted = services.request_of(self.plan, Build.Trigger.MANUAL, user_of(self.request))
        is_armed = "token" in more
        if is_armed:
            more |= {"seconds": arming.ARMING_SECONDS, "until": arming.armed_until()}
        context = asking.page_context(
            self.request,
            self.admin,
            title=f"{'Armed' if is_armed else 'Resume'}: plan {self.plan.pk}",
            plan=self.plan,
            again=again,
            previews=previews.previews_of(wanted, again),
            to_arm=bool(again.protected),
            **more,
        )
        return TemplateResponse(self.request, "builds/plan_resume.html", context)

    def _arm(self, again: planning.Plan) -> HttpResponse:
        self._refuse_who_may_not_arm()
        token = arming.make_token(
            user=self.request.user,
            session_key=session_of(self.request),
            requests=[Resumption(self.plan, again)],
        )
        jobs = Job.objects.filter(pk__in=again.protected)
        text = f"Armed what is built again of plan {self.plan.pk}, to be started within a minute."
        history.note_many(self.request.user, jobs, text)
        return self._page(again, token=token)

    def _start(self, again: planning.Plan, *, arm: bool) -> HttpResponse:
        if arm:
            self._refuse_who_may_not_arm()
        try:
            made = self._record(again, arm=arm)
        except (ArmingRefused, ProtectedJob) as error:
            return self._page(again, error=f"Not started: {error}")
        goes_on = {"plan": self.plan.pk, "made": made.pk}
        say(self.request, messages.SUCCESS, "plan_resumed", **goes_on)
        return HttpResponseRedirect(_address(made))

    def _record(self, again: planning.Plan, *, arm: bool) -> Plan:
        with transaction.atomic():
            if arm:
                arming.redeem(
                    self.request.POST.get("token", ""),
                    user=self.request.user,
                    session_key=session_of(self.request),
                    requests=[Resumption(self.plan, again)],
                )
            made = services.resume_plan(
                plan=self.plan,
                trigger=Build.Trigger.MANUAL,
                requested_by=user_of(self.request),
                arm=arm,
                expected=again,
            ).plan
            assert made is not None  # a resumption always is a plan
            how = f"to resume plan {self.plan.pk}{', armed' if arm else ''}"
            asking.record_plan(self.request, made, how)
            history.note(self.request.user, self.plan, f"Resumed it as plan {made.pk}.")
        return made

    def _refuse_who_may_not_arm(self) -> None:
        if not asking.may_arm(self.request):
            raise PermissionDenied


def _sentence(error: JobControlException) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _address(plan: Plan) -> str:
    return reverse("admin:builds_plan_change", args=[plan.pk])
