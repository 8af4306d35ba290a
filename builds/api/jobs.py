"""Jobs: what there is, where each stands, and starting one."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Header, Query, Router
from pydantic import StringConstraints

from builds import history, services, uses
from builds.addresses import address_of
from builds.api import schemas
from builds.api.auth import require, user_of
from builds.api.replies import LINK, answer, refusals, with_next
from builds.api.values import decode_arguments, decode_keywords
from builds.models import Build
from builds.presentation import job_detail, job_summary, plan_preview
from builds.status import job_status, job_statuses
from builds.token_models import UsedNonce
from jobcontrol.exceptions import BuildStateError, InvalidRequest
from jobcontrol_site import lookup
from jobs.models import Job

router = Router(tags=["jobs"])

MAX_JOBS = 1_000  # per page
MAX_TAGS = 20
MAX_TAG = 200  # characters: twenty of them still fit into the address that servers read
FAR = 2**31  # no site has so many jobs, and no database counts much further
LISTER = "GET /api/job/"


@router.get("", include_in_schema=False)
@router.get(
    "/",
    response={200: list[schemas.Job], **refusals()},
    openapi_extra=LINK,
    url_name="job_list",
    summary="List jobs",
)
def list_jobs(
    request: HttpRequest,
    tag: Annotated[
        list[Annotated[str, StringConstraints(max_length=MAX_TAG)]],
        Query(max_length=MAX_TAGS, description="only jobs with this tag; repeat for several"),
    ] = [],  # noqa: B006 - ninja copies it
    limit: Annotated[int, Query(ge=1, le=MAX_JOBS)] = MAX_JOBS,
    offset: Annotated[int, Query(ge=0, le=FAR)] = 0,
) -> HttpResponse:
    """Return the jobs of the configuration file, in its order, and where each stands."""
    require(request, "jobs.view_job")
    found = list(_tagged(tag)[offset : offset + limit + 1])
    jobs = found[:limit]
    statuses = job_statuses(jobs, with_builds=False)
    rows = [{**job_summary(job, statuses[job.pk]), "link": _link(request, job.pk)} for job in jobs]
    more = {"offset": offset + limit} if len(found) > limit else None
    return with_next(request, answer(rows), more)


def _tagged(tags: list[str]) -> QuerySet[Job]:
    jobs = Job.objects.active().only("title", "tags", "protected", "problem")
    # A tag is one line of printable text: no job can carry these, and PostgreSQL refuses NUL.
    if any(not tag or "\x00" in tag or "\n" in tag for tag in tags):
        return jobs.none()
    return jobs.with_tags(list(dict.fromkeys(tags)))


# Before the next one, whose ids may end in "/run" as well.
@router.post(
    "/{path:job_id}/run",
    response={200: schemas.Started, **refusals(404, 409, 413)},
    summary="Build a job",
)
def run_job(
    request: HttpRequest,
    job_id: str,
    wish: schemas.RunRequest | None = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=schemas.MAX_KEY,
            description="the same key again gives the same build again",
        ),
    ] = None,
) -> HttpResponse:
    """Ask for a build of a job, and of what it needs or what uses it; return its number.

    Protected jobs need `"arm": true` and the permission to start them. A build that was asked for
    with an idempotency key is returned again when the same user uses the key again.
    """
    require(request, "jobs.view_job", "builds.run_build")
    wish = wish or schemas.RunRequest()
    job = lookup.find_job(job_id, lister=LISTER)
    if job.protected and wish.arm:
        require(request, "builds.run_protected_build")
    build = _request_build(request, job, wish, idempotency_key)
    if build.job_id != job.pk:
        raise BuildStateError(
            f"this idempotency key asked for build #{build.pk} of {build.job_id!r} before. "
            "Use another one."
        )
    return answer({"build_id": build.pk, "plan_id": build.plan_id})


@transaction.atomic
def _request_build(
    request: HttpRequest, job: Job, wish: schemas.RunRequest, idempotency_key: str | None
) -> Build:
    """Ask for the build, and write into the job's history who did: both, or nothing."""
    nonce = _nonce(request.user.pk, wish.idempotency_key, idempotency_key)
    if nonce and UsedNonce.objects.filter(nonce=nonce).exists():
        # Whatever else it says: what was `latest` then may be gone.
        wish = schemas.RunRequest(arm=wish.arm)
    build = services.request_build(**_fields(request, job, wish), nonce=nonce)
    if not build.asked_before:
        if build.plan_id and Build.objects.filter(plan=build.plan_id, armed=True).exists():
            require(request, "builds.run_protected_build")
        history.note_request(request.user, build, "over the API")
    return build


def _fields(request: HttpRequest, job: Job, wish: schemas.RunRequest) -> dict[str, Any]:
    """Return the fields of `services.Request`."""
    chosen, build_now = uses.read(job, wish.dependency_builds)
    return {
        "job": job,
        "trigger": Build.Trigger.API,
        "requested_by": user_of(request),
        "arm": wish.arm,
        "args": None if wish.args is None else decode_arguments(wish.args),
        "kwargs": None if wish.kwargs is None else decode_keywords(wish.kwargs),
        "dependency_builds": chosen,
        "options": uses.options(
            dependencies=wish.dependencies,
            build_now=build_now,
            rebuild=wish.rebuild_reverse_dependencies,
        ),
    }


# Before the one for all ids, as above.
@router.post(
    "/{path:job_id}/plan",
    response={200: schemas.Preview, **refusals(404, 409, 413)},
    summary="Say what a run would build",
)
def preview_plan(
    request: HttpRequest, job_id: str, wish: schemas.RunRequest | None = None
) -> HttpResponse:
    """Return what `run` with this body would build, use as it is, and not be able to build.

    Nothing is recorded. `arm` and `idempotency_key` change nothing here.
    """
    require(request, "jobs.view_job", "builds.run_build")
    job = lookup.find_job(job_id, lister=LISTER)
    fields = _fields(request, job, wish or schemas.RunRequest())
    return answer(plan_preview(services.plan_for(services.Request(**fields))))


def _nonce(user_id: Any, *keys: str | None) -> str:
    """Return the nonce of a user's key, whether it came in the body or as a header."""
    given = {key for key in keys if key is not None}
    if not given:
        return ""
    if len(given) > 1:
        raise InvalidRequest("idempotency_key and the header Idempotency-Key differ.")
    digest = hashlib.sha256(given.pop().encode()).hexdigest()
    return f"api:{user_id}:{digest}"


@router.get("/{path:job_id}/run", include_in_schema=False)
def show_job_whose_id_ends_in_run(request: HttpRequest, job_id: str) -> HttpResponse:
    """Return a job whose id ends in "/run"."""
    return _show_job(request, f"{job_id}/run")


@router.get("/{path:job_id}/plan", include_in_schema=False)
def show_job_whose_id_ends_in_plan(request: HttpRequest, job_id: str) -> HttpResponse:
    """Return a job whose id ends in "/plan"."""
    return _show_job(request, f"{job_id}/plan")


@router.get(
    "/{path:job_id}",
    response={200: schemas.JobDetail, **refusals(404)},
    url_name="job",
    summary="Show a job",
)
def show_job(request: HttpRequest, job_id: str) -> HttpResponse:
    """Return one job: also one that is no longer in the configuration file."""
    return _show_job(request, job_id)


def _show_job(request: HttpRequest, job_id: str) -> HttpResponse:
    require(request, "jobs.view_job")
    job = lookup.find_job(job_id, lister=LISTER)
    with_build = request.user.has_perm("builds.view_build")
    row = job_detail(job, job_status(job), with_build=with_build)
    return answer({**row, "link": _link(request, job.pk)})


def _link(request: HttpRequest, job_id: str) -> str:
    # Not build_absolute_uri: it would resolve the dots of an id.
    return f"{request.scheme}://{request.get_host()}{address_of('api:job', job_id)}"
