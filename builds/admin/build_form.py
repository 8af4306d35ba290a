"""The page on which one build is put together, looked at and, for protected jobs, armed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from builds import arming, history, planning, previews, services
from builds.admin import asking
from builds.admin.shared import user_of
from builds.admin.telling import builds_named, say
from builds.arming import ArmingRefused
from builds.facts import Facts, read
from builds.forms import BuildForm
from builds.models import Build, BuildPayload
from builds.services import Request
from builds.status import JobStatus, reason, status_from
from builds.token_models import UsedNonce
from jobcontrol.exceptions import InvalidRequest, JobControlException
from jobs.models import Job


@dataclass(frozen=True)
class Look:
    """What would run: of a plan, its target first, then its protected jobs."""

    previews: list[previews.Preview] = field(default_factory=list)
    plan: planning.Plan | None = None

    @property
    def why_not(self) -> str:
        """Why the target can't be built; "" when it can."""
        if self.plan is None or not self.plan.why_not(self.plan.target):
            return ""
        return f"job {self.plan.target!r} can't be built: {self.plan.why_not(self.plan.target)}"


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
            return self.show(self._new_form())
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

    def _new_form(self) -> BuildForm:
        """Return the form as it is opened; a link may say what is to be built first."""
        form = BuildForm(self.job, self.source)
        first = self.request.GET.get("first", "")
        if first in list(planning.Dependencies) and "first" in form.fields:
            form.initial["first"] = first
        return form

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
        try:
            shown = self._look(form)
            wanted = replace(self.wanted(form), expected=shown.plan)
            if shown.why_not:
                raise InvalidRequest(shown.why_not)
            token = arming.make_token(
                user=self.request.user, session_key=session_of(self.request), requests=[wanted]
            )
        except JobControlException as error:
            form.add_error(None, str(error))
            return self.show(form)
        self._note_arming(shown.plan)
        return armed_page(
            self.admin,
            self.request,
            token=token,
            previews=shown.previews,
            plan=shown.plan,
            job=self.job,
            form=form,
            source=self.source,
            title=f"Armed: {self.job.label}",
        )

    def _note_arming(self, plan: planning.Plan | None) -> None:
        if plan is None:
            text = "Armed a build, to be started within a minute."
            history.note(self.request.user, self.job, text)
            return
        names = {self.job.pk, *plan.protected}
        text = f"Armed a plan of {asking.counted(len(plan.builds), 'build')} for {self.job.pk!r}, "
        text += "to be started within a minute."
        history.note_many(self.request.user, Job.objects.filter(pk__in=names), text)

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
                tell_started_before(self.request, [made], error)
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
                if not wanted.options.are_plain:
                    # What is started is the very plan that the token stands for.
                    wanted = replace(wanted, expected=services.plan_for(wanted))
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
            options=form.options(),
            **form.overrides(),
        )

    def show(self, form: BuildForm) -> HttpResponse:
        """Show the form as it is filled in, with what it would run."""
        facts = self._facts(form)
        status = status_from(facts, self.job)
        shown, problem = self._preview(form, facts)
        why_not = services.why_not_buildable(self.job) if self.job.retired else ""
        context = asking.page_context(
            self.request,
            self.admin,
            title=f"Build {self.job.label}",
            job=self.job,
            status=status,
            form=form,
            rows=form.input_rows(),
            preview=shown.previews[0] if shown and shown.previews else None,
            plan=shown.plan if shown else None,
            preview_problem=problem or (shown.why_not if shown else ""),
            to_arm=self._to_arm(shown),
            missing=self._missing(form, status),
            source=self.source,
            source_reason=reason(self.source) if self.source else "",
            source_function=self._other_function(),
            why_not=why_not,
            signature=(self.job.docs or {}).get("signature", ""),
        )
        if self.request.method == "POST" and self.request.POST.get("nonce"):
            context["nonce"] = self.request.POST["nonce"]
        return TemplateResponse(self.request, "builds/build_form.html", context)

    def _missing(self, form: BuildForm, status: JobStatus) -> list[str]:
        """Return the dependencies that have no build to use and are not to be built either."""
        if is_wrong(form) or self.job.retired:
            return []
        wanted = form.options()
        if wanted.dependencies != planning.Dependencies.NONE:
            return []
        return [name for name in status.missing if name not in wanted.build_now]

    def _to_arm(self, shown: Look | None) -> bool:
        """Whether what is filled in must be armed."""
        return self.job.protected or bool(shown and shown.plan and shown.plan.protected)

    def _other_function(self) -> str:
        """Return the function that the source ran, when the job has another one now."""
        if self.source is None:
            return ""
        ran = str(self.source.payload.config.get("function", ""))
        return ran if ran != self.job.function else ""

    def _facts(self, form: BuildForm) -> Facts:
        """Read what says how the job stands and, where one is asked for, what a plan would be."""
        names = [self.job.pk]
        if not is_wrong(form) and not form.options().are_plain:
            names = planning.relevant_jobs(form.links, self.job.pk)
        return read(names, form.links, ended=[self.job.pk])

    def _preview(self, form: BuildForm, facts: Facts) -> tuple[Look | None, str]:
        if is_wrong(form):
            return None, "What is filled in is not right yet."
        try:
            return self._look(form, facts), ""
        except JobControlException as error:
            return None, str(error)

    def _look(self, form: BuildForm, facts: Facts | None = None) -> Look:
        """Find out what would be built. Raises JobControlException for what can't be asked."""
        wanted = self.wanted(form)
        if wanted.options.are_plain:
            return Look([previews.preview(wanted)])
        plan = services.plan_for(wanted, facts)
        return Look(previews.previews_of(wanted, plan), plan)


def is_wrong(form: BuildForm) -> bool:
    """Whether something that was filled in is; not what the form as a whole was refused for."""
    return bool(set(form.errors) - {NON_FIELD_ERRORS})


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


def tell_started_before(request: HttpRequest, builds: list[Build], error: ArmingRefused) -> None:
    """Say that a second click started nothing more."""
    say(request, messages.WARNING, "only_started", why=str(error), **builds_named(builds))


def armed_page(admin: Any, request: HttpRequest, **context: Any) -> HttpResponse:
    """Show what was armed, with the button that starts it and the time that is left."""
    more = {"seconds": arming.ARMING_SECONDS, **context}
    shown = asking.page_context(request, admin, **more)
    shown["until"] = arming.armed_until()
    return TemplateResponse(request, "builds/arm.html", shown)
