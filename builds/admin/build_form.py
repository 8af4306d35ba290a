"""The page on which one build is put together, looked at and, for protected jobs, armed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from builds import arming, history, previews, services
from builds.admin import asking
from builds.admin.shared import user_of
from builds.arming import ArmingRefused
from builds.forms import BuildForm
from builds.models import Build, BuildPayload, UsedNonce
from builds.readiness import why_not
from builds.services import Request
from builds.status import job_status, reason
from jobcontrol.exceptions import JobControlException
from jobs.models import Job


@dataclass
class BuildFormPage:
    """One visit to the page: `answer` shows the form, or does what its pressed button says."""

    admin: Any
    request: HttpRequest
    job: Job

    def answer(self) -> HttpResponse:
        """Show the form (GET), or do what the pressed button says (POST)."""
        if not asking.may_run(self.request):
            raise PermissionDenied
        try:
            self.source = self._source()
        except LookupError as error:
            messages.error(self.request, str(error))
            return HttpResponseRedirect(asking.job_address(self.job))
        if self.request.method != "POST":
            return self.show(BuildForm(self.job, self.source))
        form = BuildForm(self.job, self.source, data=self.request.POST)
        steps = {"arm": self.arm, "start": self.start, "build": self.build}
        return steps.get(self.request.POST.get("step", ""), self.show)(form)

    def _source(self) -> Build | None:
        """Return the build to fill the form in from. Raises LookupError with a text."""
        query = self.request.POST if self.request.method == "POST" else self.request.GET
        number = query.get("from", "")
        if not number:
            return None
        if not self.request.user.has_perm("builds.view_build"):
            raise PermissionDenied
        found = None
        if number.isascii() and number.isdecimal() and len(number) < 19:
            payloads = BuildPayload.objects.only("config").filter(build__job=self.job)
            config = payloads.select_related("build").filter(pk=int(number)).first()
            found = config.build if config else None
        if found is None:
            raise LookupError(
                f"there is no build #{number[:20]} of this job (any more) to run again."
            )
        return found

    # --- What the buttons do

    def build(self, form: BuildForm) -> HttpResponse:
        """Start the build that the form describes; a protected job is refused."""
        if not form.is_valid():
            return self.show(form)
        try:
            build = self._record(form, arm=False)
        except JobControlException as error:
            form.add_error(None, str(error))
            return self.show(form)
        return self._lead_to(build)

    def arm(self, form: BuildForm) -> HttpResponse:
        """Show what would run once more, with the button that starts it."""
        self._refuse_who_may_not_arm()
        if not form.is_valid():
            return self.show(form)
        wanted = self.wanted(form)
        try:
            shown = previews.preview(wanted)
            token = arming.make_token(
                user=self.request.user, session_key=session_of(self.request), requests=[wanted]
            )
        except JobControlException as error:
            form.add_error(None, str(error))
            return self.show(form)
        history.note(self.request.user, self.job, "Armed a build, to be started within a minute.")
        return armed_page(
            self.admin,
            self.request,
            token=token,
            previews=[shown],
            job=self.job,
            form=form,
            source=self.source,
            title=f"Armed: {self.job.label}",
        )

    def start(self, form: BuildForm) -> HttpResponse:
        """Start the armed build; what is refused leads back to the form as it was typed."""
        self._refuse_who_may_not_arm()
        if not form.is_valid():
            return self.show(form)
        try:
            build = self._record(form, arm=True)
        except ArmingRefused as error:
            made = made_before(self.request, self.job, form.as_typed())
            if made is not None:
                messages.warning(self.request, started_before_text([made], error))
                return asking.lead_to(self.request, made)
            form.add_error(None, f"Not started: {error}")
            return self.show(form)
        except JobControlException as error:
            form.add_error(None, str(error))
            return self.show(form)
        return self._lead_to(build)

    def _refuse_who_may_not_arm(self) -> None:
        if not asking.may_arm(self.request):
            raise PermissionDenied

    def _record(self, form: BuildForm, *, arm: bool) -> Build:
        wanted = self.wanted(form)
        with transaction.atomic():
            if arm:
                arming.redeem(
                    self.request.POST.get("token", ""),
                    user=self.request.user,
                    session_key=session_of(self.request),
                    requests=[wanted],
                )
            nonce = asking.nonce_for(self.request, self.job, form.as_typed())
            build = services.request_build(**{**vars(wanted), "arm": arm, "nonce": nonce})
            asking.record(self.request, build, self._remark(form, arm))
        return build

    def _remark(self, form: BuildForm, arm: bool) -> str:
        """Return what the history adds about a build that is not the plain one."""
        remarks = ["armed"] if arm else []
        if self.source is not None:
            remarks.append(f"again as build #{self.source.pk}")
        if form.overrides():
            remarks.append("with other arguments")
        return "".join(f", {remark}" for remark in remarks)

    def _lead_to(self, build: Build) -> HttpResponse:
        asked = asking.Asked(before=[build]) if build.asked_before else asking.Asked([build])
        asking.tell(self.request, asked)
        return asking.lead_to(self.request, build)

    # --- What is shown

    def wanted(self, form: BuildForm) -> Request:
        """Return what a form asks for: what was typed, or what it is filled in with."""
        return Request(
            job=self.job,
            trigger=Build.Trigger.MANUAL,
            requested_by=user_of(self.request),
            dependency_builds=form.dependency_builds(),
            **form.overrides(),
        )

    def show(self, form: BuildForm) -> HttpResponse:
        """Show the form as it is filled in, with what it would run."""
        status = job_status(self.job)
        shown, problem = self._preview(form)
        context = asking.page_context(
            self.request,
            self.admin,
            title=f"Build {self.job.label}",
            job=self.job,
            status=status,
            form=form,
            rows=form.input_rows(),
            preview=shown,
            preview_problem=problem,
            source=self.source,
            source_reason=reason(self.source) if self.source else "",
            source_function=self._other_function(),
            why_not=self._why_not(form, status),
            signature=(self.job.docs or {}).get("signature", ""),
        )
        if self.request.method == "POST" and self.request.POST.get("nonce"):
            context["nonce"] = self.request.POST["nonce"]
        return TemplateResponse(self.request, "builds/build_form.html", context)

    def _why_not(self, form: BuildForm, status: Any) -> str:
        """Return why nothing can be started here; wrong pins of the file can be chosen away."""
        if self.job.retired or any(row.field is None for row in form.input_rows()):
            return why_not([self.job], {self.job.pk: status})[self.job.pk]
        return ""

    def _other_function(self) -> str:
        """Return the function that the source ran, when the job has another one now."""
        if self.source is None:
            return ""
        ran = str(self.source.payload.config.get("function", ""))
        return ran if ran != self.job.function else ""

    def _preview(self, form: BuildForm) -> tuple[previews.Preview | None, str]:
        # What the form as a whole was refused for is nothing that was filled in.
        if set(form.errors) - {NON_FIELD_ERRORS}:
            return None, "What is filled in is not right yet."
        try:
            return previews.preview(self.wanted(form)), ""
        except JobControlException as error:
            return None, str(error)


# --- What arming one and arming several share -----------------------------------------------------


def session_of(request: HttpRequest) -> str:
    """Return the key of the user's session, to which an arming is bound."""
    return str(request.session.session_key or "")


def made_before(request: HttpRequest, job: Job, wish: str = "") -> Build | None:
    """Return the build that this very page made of the job before (a double click)."""
    nonce = asking.nonce_for(request, job, wish)
    used = UsedNonce.objects.filter(nonce=nonce).first() if nonce else None
    if used is None or used.build_number is None:
        return None
    return Build.objects.select_related("job").filter(pk=used.build_number).first()


def started_before_text(builds: list[Build], error: ArmingRefused) -> str:
    """Say that a second click started nothing more."""
    names = ", ".join(f"#{build.pk} of {build.job_id}" for build in builds)
    return f"Nothing more was started than build {names}: {error}"


def armed_page(admin: Any, request: HttpRequest, **context: Any) -> HttpResponse:
    """Show what was armed, with the button that starts it and the time that is left."""
    more = {"seconds": arming.ARMING_SECONDS, **context}
    shown = asking.page_context(request, admin, **more)
    shown["until"] = arming.armed_until()
    return TemplateResponse(request, "builds/arm.html", shown)
