"""Plans: builds that were asked for together."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Router

from builds import history, services
from builds.api import schemas
from builds.api.auth import require, user_of
from builds.api.replies import answer, refusals
from builds.models import Build
from builds.plan_status import refuse_ended
from builds.presentation import plan_detail
from jobcontrol_site import lookup

router = Router(tags=["plans"])


@router.get("/{int:plan_id}", response={200: schemas.Plan, **refusals(404)}, summary="Show a plan")
def show_plan(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Return a plan: how it stands, and its builds, a retry in place of what failed."""
    require(request, "builds.view_build")
    return answer(plan_detail(lookup.find_plan(plan_id)))


@router.post(
    "/{int:plan_id}/cancel",
    response={200: schemas.Plan, **refusals(404, 409)},
    summary="Cancel a plan",
)
def cancel_plan(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Cancel what has not ended of a plan, and return it as it is: some builds may still run."""
    require(request, "builds.view_build", "builds.run_build")
    plan = lookup.find_plan(plan_id)
    refuse_ended(plan)
    text = "Asked over the API to cancel this, with its plan."
    services.cancel_plan(
        plan=plan,
        requested_by=user_of(request),
        note=lambda numbers: history.note_builds(request.user, numbers, text),
    )
    return answer(plan_detail(plan))


@router.post(
    "/{int:plan_id}/resume",
    response={200: schemas.Plan, **refusals(404, 409, 413)},
    summary="Resume a plan",
)
def resume_plan(
    request: HttpRequest, plan_id: int, wish: schemas.ResumeRequest | None = None
) -> HttpResponse:
    """Build again what did not succeed in a plan, using what did; return the new plan.

    Protected jobs need `"arm": true` and the permission to start them. A plan is resumed once.
    """
    require(request, "builds.view_build", "builds.run_build")
    plan = lookup.find_plan(plan_id)
    with transaction.atomic():
        made = services.resume_plan(
            plan=plan,
            trigger=Build.Trigger.API,
            requested_by=user_of(request),
            arm=bool(wish and wish.arm),
        )
        if any(build.armed for build in made.builds):
            require(request, "builds.run_protected_build")
        history.note_request(request.user, made.target, "over the API")
    assert made.plan is not None
    return answer(plan_detail(made.plan))
