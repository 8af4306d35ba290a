"""The page on which several protected jobs are looked at, armed and started together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from builds import arming, history, previews, services
from builds.admin import asking
from builds.admin.build_form import armed_page, made_before, session_of, tell_started_before
from builds.admin.shared import user_of
from builds.arming import ArmingRefused
from builds.models import Build
from builds.services import Request
from builds.services.inputs import inputs_or_refusals
from jobcontrol.exceptions import JobControlException
from jobs.models import Job

MAX_ARMED = 50  # jobs that are armed together: somebody is to read what would run


@dataclass
class ArmPage:
    """One visit to the page: `answer` shows what would run, arms it or starts it."""

    admin: Any
    request: HttpRequest

    def answer(self) -> HttpResponse:
        """Show what would run (GET), or do what the pressed button says (POST)."""
        if not asking.may_arm(self.request):
            raise PermissionDenied
        is_post = self.request.method == "POST"
        query = self.request.POST if is_post else self.request.GET
        return self.show(query.getlist("job"), query.get("step", "") if is_post else "")

    def show(self, job_ids: Sequence[str], step: str = "") -> HttpResponse:
        """Show the jobs of these ids, armed or started when `step` says so."""
        found = self._jobs(job_ids)
        wanted, left_out = self._wanted(found[:MAX_ARMED])
        if len(found) > MAX_ARMED:
            left_out.append(f"only the first {MAX_ARMED} of {len(found)} jobs are shown.")
        if not wanted:
            for line in left_out or ["no protected job was chosen."]:
                messages.error(self.request, line)
            return HttpResponseRedirect(reverse("admin:jobs_job_changelist"))
        if step == "start":
            return self._start(wanted, left_out)
        if step == "arm":
            return self._arm(wanted, left_out)
        return self._page(wanted, left_out)

    def _jobs(self, job_ids: Sequence[str]) -> list[Job]:
        known = [job_id for job_id in job_ids if "\x00" not in job_id][: asking.MAX_AT_ONCE]
        return list(Job.objects.filter(pk__in=known, protected=True, retired=False))

    def _wanted(self, jobs: Sequence[Job]) -> tuple[list[Request], list[str]]:
        """Return a request for each job, its inputs fixed, and why others can't be built."""
        wanted, left_out = [], []
        found = inputs_or_refusals([(job, {}) for job in jobs])
        for job, inputs in zip(jobs, found, strict=True):
            if isinstance(inputs, JobControlException):
                left_out.append(str(inputs))
                continue
            request = Request(
                job=job,
                trigger=Build.Trigger.MANUAL,
                requested_by=user_of(self.request),
                dependency_builds=inputs,
            )
            wanted.append(request)
        return wanted, left_out

    def _page(
        self, wanted: Sequence[Request], left_out: Sequence[str], error: str = ""
    ) -> HttpResponse:
        context = asking.page_context(
            self.request,
            self.admin,
            title="Arm protected jobs",
            previews=_previews(wanted),
            left_out=left_out,
            error=error,
        )
        return TemplateResponse(self.request, "builds/arm.html", context)

    def _arm(self, wanted: Sequence[Request], left_out: Sequence[str]) -> HttpResponse:
        token = arming.make_token(
            user=self.request.user, session_key=session_of(self.request), requests=wanted
        )
        others = len(wanted) - 1
        together = f", with {others} other job{'s' if others > 1 else ''}," if others else ""
        text = f"Armed a build{together} to be started within a minute."
        history.note_many(self.request.user, [request.job for request in wanted], text)
        return armed_page(
            self.admin,
            self.request,
            token=token,
            previews=_previews(wanted),
            left_out=left_out,
            title=f"Armed: {len(wanted)} job{'s' if len(wanted) > 1 else ''}",
        )

    def _start(self, wanted: Sequence[Request], left_out: Sequence[str]) -> HttpResponse:
        try:
            builds = self._record(wanted)
        except ArmingRefused as error:
            before = [made_before(self.request, request.job) for request in wanted]
            made = [build for build in before if build is not None]
            if not made:
                return self._page(wanted, left_out, f"Not started: {error}")
            tell_started_before(self.request, made, error)
        except JobControlException as error:
            return self._page(wanted, left_out, f"Nothing was started: {error}")
        else:
            asking.tell(self.request, asking.Asked(builds))
        return HttpResponseRedirect(reverse("admin:jobs_job_changelist"))

    def _record(self, wanted: Sequence[Request]) -> list[Build]:
        """Record all the builds, or none."""
        builds = []
        with transaction.atomic():
            arming.redeem(
                self.request.POST.get("token", ""),
                user=self.request.user,
                session_key=session_of(self.request),
                requests=wanted,
            )
            for request in wanted:
                nonce = asking.nonce_for(self.request, request.job)
                build = services.request_build(**{**vars(request), "arm": True, "nonce": nonce})
                asking.record(self.request, build, ", armed")
                builds.append(build)
        return builds


def _previews(wanted: Sequence[Request]) -> list[previews.Preview]:
    """Return what would run, with the inputs that `wanted` has fixed."""
    return [previews.preview_with(request, request.dependency_builds) for request in wanted]
