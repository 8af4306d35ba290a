"""Builds: lists of them, all that is recorded about one, and deleting it."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query, Router
from pydantic import BaseModel, Field

from builds import history, services
from builds.api import schemas
from builds.api.auth import require, user_of
from builds.api.jobs import LISTER
from builds.api.replies import LINK, answer, refusals, with_next
from builds.deletion_models import Deletion
from builds.models import Build, BuildPayload, LogMessage
from builds.pages.log_parts import line_at, lines_of, look_of
from builds.presentation import Json, build_detail, build_rows, deletion_detail, log_line
from jobcontrol.exceptions import BuildStateError, InvalidRequest, NotFound
from jobcontrol_site import lookup, moments

T = TypeVar("T")

router = Router(tags=["builds"])
deletions = Router(tags=["deletions"])

MAX_BUILDS = 100  # per page
MAX_LINES = 1_000  # per page
MAX_LINES_CHARS = 4 * 1024 * 1024  # of JSON, from which on a page of lines ends
RETVAL_CHARS = 10_000  # of each build in a list
WRITTEN_WITHIN = timedelta(minutes=1)  # a line, after its time
MAX_TEXT = 500  # characters to look for

FLAGS = ("started", "finished", "success", "skipped", "kept")


class BuildFilters(BaseModel):
    """Which builds a list shows."""

    job: str | None = Field(None, description="only of this job")
    status: list[Build.Status] = Field([], description="only in this state; repeat for several")
    started: bool | None = None
    finished: bool | None = None
    success: bool | None = Field(None, description="skipped builds are successes")
    skipped: bool | None = None
    kept: bool | None = Field(None, description="marked to be kept, whatever the retention says")
    order: Literal["asc", "desc"] = Field("desc", description="oldest or newest first")
    limit: int = Field(MAX_BUILDS, ge=1, le=MAX_BUILDS)
    before: schemas.Id | None = Field(None, description="only builds with a lower id")
    after: int | None = Field(
        None, ge=0, le=schemas.BIGGEST_ID, description="only builds with a higher id"
    )


@router.get("", include_in_schema=False)
@router.get(
    "/",
    response={200: list[schemas.Build], **refusals(404)},
    openapi_extra=LINK,
    summary="List builds",
)
def list_builds(request: HttpRequest, filters: Query[BuildFilters]) -> HttpResponse:
    """Return builds; long return values are cut here."""
    require(request, "builds.view_build")
    builds = _matching(filters)
    found = list(builds[: filters.limit + 1])
    rows = build_rows(found[: filters.limit], retval_chars=RETVAL_CHARS)
    more = None
    if len(found) > filters.limit:
        more = {"after" if filters.order == "asc" else "before": rows[-1]["id"]}
    return with_next(request, answer(rows), more)


def _matching(filters: BuildFilters) -> QuerySet[Build]:
    builds = Build.objects.all()
    if filters.job is not None:
        builds = builds.filter(job=lookup.find_job(filters.job, lister=LISTER))
    if filters.status:
        builds = builds.filter(status__in=set(filters.status))
    for flag in FLAGS:
        wanted = getattr(filters, flag)
        if wanted is not None:
            builds = getattr(builds, flag)(wanted)
    if filters.before is not None:
        builds = builds.filter(pk__lt=filters.before)
    if filters.after is not None:
        builds = builds.filter(pk__gt=filters.after)
    return builds.order_by("id" if filters.order == "asc" else "-id")


@router.get(
    "/{int:build_id}", response={200: schemas.Build, **refusals(404)}, summary="Show a build"
)
def show_build(request: HttpRequest, build_id: int) -> HttpResponse:
    """Return one build."""
    require(request, "builds.view_build")
    return answer(build_detail(lookup.find_build(build_id)))


@router.post(
    "/{int:build_id}/cancel",
    response={200: schemas.Build, **refusals(404, 409)},
    summary="Cancel a build",
)
def cancel_build(request: HttpRequest, build_id: int) -> HttpResponse:
    """Cancel a build that waits at once; tell one that runs to stop, and return it as it is."""
    require(request, "builds.view_build", "builds.run_build")
    build = lookup.find_build(build_id)
    services.cancel_build(build=build, requested_by=user_of(request))
    history.note(request.user, build, "Asked over the API to cancel this.")
    return answer(build_detail(build))


# --- The mark that keeps it -----------------------------------------------------------------------


@router.put(
    "/{int:build_id}/keep",
    response={200: schemas.KeptBuild, **refusals(404, 409)},
    summary="Mark a build to be kept",
)
def keep_build(request: HttpRequest, build_id: int) -> HttpResponse:
    """Mark a build so that no retention and no bulk deletion removes it."""
    return _mark(request, build_id, keep=True)


@router.delete(
    "/{int:build_id}/keep",
    response={200: schemas.KeptBuild, **refusals(404, 409)},
    summary="Take the mark away",
)
def unkeep_build(request: HttpRequest, build_id: int) -> HttpResponse:
    """Let the retention remove the build when its time has come."""
    return _mark(request, build_id, keep=False)


def _mark(request: HttpRequest, build_id: int, *, keep: bool) -> HttpResponse:
    require(request, "builds.view_build", "builds.run_build")
    build = lookup.find_build(build_id)
    was_kept = build.keep
    with transaction.atomic():
        services.keep_build(build=build, keep=keep)
        if was_kept != keep:
            history.note(request.user, build, history.KEPT if keep else history.UNKEPT)
    return answer({"id": build.pk, "job_id": build.job_id, "keep": build.keep})


# --- Its log --------------------------------------------------------------------------------------


class LogFilters(BaseModel):
    """Which lines of a log are shown."""

    level: str | None = Field(
        None,
        description="only from this level up: its name, in any case, or its number",
        json_schema_extra=schemas.any_of(
            {"enum": list(moments.LEVELS)}, {"pattern": "^[0-9]{1,4}$"}
        ),
    )
    since: str | None = Field(
        None,
        description="only from this time on: ISO 8601, or 1h (ago)",
        json_schema_extra=schemas.MOMENT_OR_AGE,
    )
    until: str | None = Field(
        None, description="only up to this time", json_schema_extra=schemas.MOMENT_OR_AGE
    )
    text: str | None = Field(
        None,
        max_length=MAX_TEXT,
        description="only lines that contain this, in any case",
        json_schema_extra=schemas.any_of({"maxLength": MAX_TEXT, "pattern": "^[^\\u0000]*$"}),
    )
    after: int = Field(0, ge=0, le=schemas.BIGGEST_ID, description="only lines with a higher id")
    limit: int = Field(
        MAX_LINES, ge=1, le=MAX_LINES, description="fewer come if they are long or few match"
    )


@router.get(
    "/{int:build_id}/log",
    response={200: list[schemas.LogLine], **refusals(404)},
    openapi_extra=LINK,
    summary="Read a build's log",
)
def show_log(request: HttpRequest, build_id: int, filters: Query[LogFilters]) -> HttpResponse:
    """Return lines of the log, oldest first.

    Where few lines match, a reply looks at so many, and may hold fewer than `limit`, or none: the
    log is at its end when there is no `Link`.
    """
    require(request, "builds.view_build")
    lines, looked_at = _lines(lookup.find_build(build_id), filters)
    rows, goes_on = _page(lines[: filters.limit + 1].iterator(chunk_size=100), filters.limit)
    last = rows[-1]["id"] if goes_on else looked_at
    return with_next(request, answer(rows), None if last is None else {"after": last})


def _page(lines: Iterable[LogMessage], limit: int) -> tuple[list[Json], bool]:
    """Return so many of the lines as make a page, one at least, and whether there are more."""
    rows: list[Json] = []
    chars = 0
    for line in lines:
        if len(rows) == limit or chars > MAX_LINES_CHARS:
            return rows, True
        rows.append(log_line(line))
        chars += len(json.dumps(rows[-1]))
    return rows, False


def _lines(build: Build, filters: LogFilters) -> tuple[QuerySet[LogMessage], int | None]:
    """Return the lines that match, and up to which number was looked if there are lines left."""
    walked = lines_of(build).filter(pk__gt=filters.after)
    wanted = Q()
    if filters.level is not None:
        level = _read(moments.level, "level", filters.level)
        wanted &= Q(level__gte=level)
        if level >= LogMessage.RARE_LEVEL:  # these have an index of their own
            walked = walked.filter(level__gte=LogMessage.RARE_LEVEL)
    # By number too, or all lines before or after would be gone through. With a margin: lines are
    # written in nearly the order of their times.
    if filters.since is not None:
        since = _read(_moment, "since", filters.since)
        start = line_at(build, _moved(since, -WRITTEN_WITHIN))
        walked = walked.filter(pk__gte=start or schemas.BIGGEST_ID)
        wanted &= Q(created__gte=since)
    if filters.until is not None:
        until = _read(_moment, "until", filters.until)
        end = line_at(build, _moved(until, WRITTEN_WITHIN))
        walked = walked.filter(pk__lte=end or schemas.BIGGEST_ID)
        wanted &= Q(created__lte=until)
    if filters.text:
        if "\x00" in filters.text:
            raise InvalidRequest("text: no line contains a NUL character.")
        wanted &= Q(message__icontains=filters.text)
    if not wanted:
        return walked, None
    look = look_of(build, walked)
    found = walked.filter(wanted, pk__gte=look.first or schemas.BIGGEST_ID)
    if look.stopped is None:
        return found, None
    return found.filter(pk__lt=look.stopped[0]), look.stopped[0] - 1


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Return a moment so much later, or itself at an end of the calendar."""
    try:
        return moment + by
    except OverflowError:
        return moment


def _read(reader: Callable[[str], T], name: str, text: str) -> T:
    """Read a filter as the command line does. Raises InvalidRequest."""
    try:
        return reader(text)
    except (ArgumentTypeError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {error}.") from error


def _moment(text: str) -> datetime:
    # The first and last days of the calendar may have no UTC.
    return moments.moment(text).astimezone(UTC)


# --- Its return value -----------------------------------------------------------------------------


@router.get(
    "/{int:build_id}/retval",
    response={200: None, **refusals(404, 409)},
    openapi_extra={
        "responses": {
            200: {
                "description": "the value itself as JSON, or its text",
                "content": {
                    "application/json": {"schema": {"description": "what the function returned"}},
                    "text/plain": {"schema": {"type": "string"}},
                },
            }
        }
    },
    summary="Read a build's return value",
)
def show_retval(
    request: HttpRequest,
    build_id: int,
    form: Annotated[
        Literal["json", "text"] | None,
        Query(
            alias="format",
            description="json: the value, or 404 where it is no JSON; text: as the pages show it",
        ),
    ] = None,
) -> HttpResponse:
    """Return the value as JSON where it is JSON (of up to a million characters), else its text.

    The text is that of `repr`, or of the job's `repr_function`. Secrets are masked in both.
    """
    require(request, "builds.view_build")
    build = lookup.find_build(build_id)
    if not build.finished:
        raise BuildStateError(f"build #{build.pk} has not ended: it has no return value yet.")
    if build.status != Build.Status.SUCCESSFUL:
        raise NotFound(f"build #{build.pk} is {build.status} and has no return value.")
    found = BuildPayload.objects.values_list("retval_json", "retval_text").get(pk=build.pk)
    as_json, text = found
    if form == "text" or (form is None and not as_json):
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
    if not as_json:
        raise NotFound(f"the return value of build #{build.pk} is not JSON: ask for its text.")
    return HttpResponse(as_json, content_type="application/json")


# --- Deletion -------------------------------------------------------------------------------------


@router.delete(
    "/{int:build_id}",
    response={202: schemas.Deletion, **refusals(404, 409)},
    openapi_extra={
        "responses": {
            202: {
                "headers": {
                    "Location": {
                        "description": "where the deletion's outcome can be read",
                        "schema": {"type": "string"},
                    }
                }
            }
        }
    },
    summary="Delete a build",
)
def delete_build(
    request: HttpRequest,
    build_id: int,
    cleanup: Annotated[
        bool, Query(description="call the cleanup function that the build's configuration names")
    ] = True,
) -> HttpResponse:
    """Ask a worker to clean up and delete a build; the outcome is in the deletion's own reply."""
    require(request, "builds.view_build", "builds.delete_build")
    build = lookup.find_build(build_id)
    how = "" if cleanup else " without cleanup"
    with transaction.atomic():
        deletion = services.request_deletion(
            build=build, requested_by=user_of(request), cleanup=cleanup
        )
        history.note(request.user, build, f"Asked over the API to delete this{how}.")
    response = answer(deletion_detail(_deletion(deletion.pk)), status=202)
    response["Location"] = reverse("api:deletion", args=[deletion.pk])
    return response


@deletions.get(
    "/{int:deletion_id}",
    response={200: schemas.Deletion, **refusals(404)},
    url_name="deletion",
    summary="Show a deletion",
)
def show_deletion(request: HttpRequest, deletion_id: int) -> HttpResponse:
    """Return a deletion: whether it was carried out, and how the cleanup went."""
    require(request, "builds.view_deletion")
    return answer(deletion_detail(_deletion(deletion_id)))


def _deletion(number: int) -> Deletion:
    deletion = Deletion.objects.select_related("requested_by").filter(pk=number).first()
    if deletion is None:
        raise NotFound(f"there is no deletion {number}")
    return deletion
