"""Asking for builds from a page: once for each click, noted in the history, told to the person."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from builds import history, services
from builds.admin.shared import user_of
from builds.admin.telling import builds_named, say
from builds.models import Build
from builds.plan_models import Plan
from jobcontrol.exceptions import JobControlException, ProtectedJob
from jobs.models import Job

MAY_RUN = "builds.run_build"
MAY_ARM = "builds.run_protected_build"
MAY_SEE_PLANS = "builds.view_plan"

MAX_AT_ONCE = 500  # jobs that one click starts
TOLD = 10  # builds or refusals that are told one by one
_MAX_LINK = 1_500  # characters


@dataclass
class Asked:
    """What came of asking: new builds, builds that the same click made before, refusals."""

    builds: list[Build] = field(default_factory=list)
    before: list[Build] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    protected: list[Job] = field(default_factory=list)


def may_run(request: HttpRequest) -> bool:
    """Whether the user may start builds."""
    return request.user.has_perm(MAY_RUN)


def may_arm(request: HttpRequest) -> bool:
    """Whether the user may start builds of protected jobs."""
    return may_run(request) and request.user.has_perm(MAY_ARM)


def new_nonce() -> str:
    """Return the mark of one rendered page: what is sent twice with it is done once."""
    return secrets.token_urlsafe(16)


def nonce_for(request: HttpRequest, job: Job, wish: str = "") -> str:
    """Return the nonce that this page's button for this job sends; "" when it sends none.

    The page's mark is digested with user and job: it may hold anything, and stand for more jobs.
    `wish` is what was filled in: a page gone back to and filled in otherwise is no second click.
    """
    mark = request.POST.get("nonce", "")
    if not mark:
        return ""
    text = json.dumps([request.user.pk, job.pk, mark, wish])
    return "page:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def ask(request: HttpRequest, jobs: Iterable[Job], *, trigger: str) -> Asked:
    """Ask for a plain build of each job; what can't be is told, the others start."""
    asked = Asked()
    for job in jobs:
        try:
            with transaction.atomic():
                build = services.request_build(
                    job=job,
                    trigger=trigger,
                    requested_by=user_of(request),
                    nonce=nonce_for(request, job),
                )
                record(request, build)
        except ProtectedJob:
            asked.protected.append(job)
        except JobControlException as error:
            asked.refused.append(str(error))
        else:
            (asked.before if build.asked_before else asked.builds).append(build)
    return asked


def record(request: HttpRequest, build: Build, remark: str = "") -> None:
    """Note in the job's history who asked for the build, unless that was noted before."""
    if build.asked_before:
        return
    how = f"by {build.get_trigger_display()}{remark}"
    if build.plan is None:
        history.note(request.user, build.job, f"Asked for build #{build.pk} {how}.")
        return
    record_plan(request, build.plan, how)


def record_plan(request: HttpRequest, plan: Plan, how: str) -> None:
    """Note in the history of each job of a plan who asked for it."""
    others = list(Job.objects.filter(builds__plan=plan).only("pk", "title").distinct())
    text = f"Asked for builds of {counted(len(others), 'job')} {how}: plan {plan.pk}."
    history.note_many(request.user, [job for job in others if job.pk == plan.job_id], text)
    text = f"Asked for a build {how}, with {plan.job_id!r}: plan {plan.pk}."
    history.note_many(request.user, [job for job in others if job.pk != plan.job_id], text)


def tell(request: HttpRequest, asked: Asked) -> None:
    """Tell the person what came of asking."""
    plans = [build for build in asked.builds if build.plan_id]
    for build in plans:
        named = builds_named([build])
        say(request, messages.SUCCESS, "plan_started", plan=build.plan_id, **named)
    if len(asked.builds) > len(plans):
        plain = [build for build in asked.builds if not build.plan_id]
        say(request, messages.SUCCESS, "queued", **builds_named(plain))
    if asked.before:
        say(request, messages.INFO, "before", **builds_named(asked.before))
    if asked.protected:
        tell_protected(request, asked.protected)
    for line in asked.refused[:TOLD]:
        messages.error(request, line)
    if len(asked.refused) > TOLD:
        messages.error(request, f"And {len(asked.refused) - TOLD} more can't be built either.")


def tell_protected(request: HttpRequest, jobs: Sequence[Job]) -> None:
    """Say that these jobs are protected, with a link to where they are armed."""
    say(
        request,
        messages.ERROR,
        "protected",
        jobs=[job.pk for job in jobs[:TOLD]],
        count=len(jobs),
        more=max(len(jobs) - TOLD, 0),
        may_arm=may_arm(request),
        address=arm_address(jobs),
    )


def arm_address(jobs: Sequence[Job]) -> str:
    """Return the page on which these jobs are armed."""
    if len(jobs) == 1:
        return reverse("admin:jobs_job_build_form", args=[quote(jobs[0].pk)])
    address = reverse("admin:jobs_job_arm")
    link = f"{address}?{urlencode({'job': [job.pk for job in jobs]}, doseq=True)}"
    listed = reverse("admin:jobs_job_changelist") + "?protected__exact=1&retired__exact=0"
    return link if len(link) <= _MAX_LINK else listed


def lead_to(request: HttpRequest, build: Build) -> HttpResponse:
    """Lead to a build's plan or its page, or to its job for those who may not see these."""
    if build.plan_id and request.user.has_perm(MAY_SEE_PLANS):
        return HttpResponseRedirect(reverse("admin:builds_plan_change", args=[build.plan_id]))
    if request.user.has_perm("builds.view_build"):
        return HttpResponseRedirect(reverse("admin:builds_build_change", args=[build.pk]))
    return HttpResponseRedirect(job_address(build.job))


def job_address(job: Job) -> str:
    """Return the address of a job's page."""
    return reverse("admin:jobs_job_change", args=[quote(job.pk)])


def counted(number: int, name: str) -> str:
    """Return `3 jobs`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def page_context(request: HttpRequest, admin: Any, **more: Any) -> dict[str, Any]:
    """Return what every page of ours inside the admin needs, and `more`."""
    return {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "nonce": new_nonce(),
        "may_run": may_run(request),
        "may_arm": may_arm(request),
        **more,
    }
