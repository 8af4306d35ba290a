"""What the API answers when it refuses: `{"detail": …}`, in the words of the pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, RequestDataTooBig
from django.core.exceptions import SuspiciousOperation as BadRequestError
from django.db import InterfaceError, OperationalError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    UnreadablePostError,
)
from django.http.multipartparser import MultiPartParserError
from django.utils.cache import add_never_cache_headers
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from ninja import errors as ninja

from jobcontrol.exceptions import (
    BuildStateError,
    InvalidRequest,
    JobControlException,
    MissingDependencies,
    NotFound,
    ProtectedJob,
)

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024  # bytes
REALM = 'Bearer realm="JobControl"'

# The first that fits.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (ProtectedJob, 403),
    (MissingDependencies, 409),
    (BuildStateError, 409),
    (InvalidRequest, 422),
    (JobControlException, 400),
)
_OUR_NAMES = ("wish", "filters")  # parameters of our functions; nobody else knows them
NOT_ALLOWED = "this address does not know that method."
NOTHING_HERE = "there is nothing at this address; openapi.json lists what there is."
TOO_BIG = f"the body is bigger than {MAX_BODY:,} bytes."
NO_JSON = "the body is no JSON"
NINJAS_NO_JSON = "Cannot parse request body"
NO_LENGTH = "a body in chunks is not read: send it whole, with a Content-Length."
CUT_SHORT = "the body is shorter than its Content-Length says."
NO_REQUEST = "the request can't be read."
AWAY = "the database does not answer; try again in a moment."
OUR_FAULT = "that went wrong on our side; the server's log says how."


def reply(request: HttpRequest, error: Exception) -> HttpResponse:  # noqa: ARG001 - ninja's signature
    """Return the reply to a request that ended in `error`."""
    status, detail = _told(error)
    response = JsonResponse({"detail": detail}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = REALM
    return response


def _told(error: Exception) -> tuple[int, str]:
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status, str(error)
    if isinstance(error, ninja.ValidationError):
        return 422, "; ".join(_line(found) for found in error.errors)
    if isinstance(error, ninja.HttpError):
        return error.status_code, _words(error)
    return _told_of_django(error)


def _told_of_django(error: Exception) -> tuple[int, str]:
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return 404, NOTHING_HERE
    if isinstance(error, PermissionDenied):
        return 403, str(error) or "you may not do that."
    if isinstance(error, RequestDataTooBig):
        return 413, TOO_BIG
    if isinstance(error, BadRequestError | MultiPartParserError | UnreadablePostError):
        return 400, NO_REQUEST
    logger.error("a request to the API failed", exc_info=error)
    if isinstance(error, OperationalError | InterfaceError):
        return 503, AWAY
    return 500, OUR_FAULT


def _words(error: ninja.HttpError) -> str:
    """Return what an error of ninja's says; of a body that is no JSON, what is wrong with it."""
    if not error.message.startswith(NINJAS_NO_JSON):
        return error.message
    cause = error.__cause__
    return f"{NO_JSON}: {cause}." if isinstance(cause, ValueError) else f"{NO_JSON}."


def _line(found: dict[str, Any]) -> str:
    """Return one mistake that pydantic found, such as `body.arm: must be …`."""
    place = ".".join(str(part) for part in found["loc"] if part not in _OUR_NAMES)
    return f"{place}: {found['msg']}"


def as_json(view: Callable[..., HttpResponse], *, allow: str = "") -> Callable[..., HttpResponse]:
    """Wrap a view so that whatever it answers, or raises, is JSON and is never kept in a cache.

    `allow` names the methods in a refusal of others; without it, all that the view knows.
    """

    @csrf_exempt  # the session's authentication checks it itself
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        method = request.method
        if method == "HEAD":
            request.method = "GET"  # the same, and the server drops the body
        try:
            _bound(request)
            response = view(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the last place that can make JSON of it
            response = reply(request, error)
        finally:
            request.method = method
        if response.status_code == 405:
            allowed = allow or response["Allow"]
            response = JsonResponse({"detail": NOT_ALLOWED}, status=405)
            response["Allow"] = allowed.replace("GET", "GET, HEAD")
        add_never_cache_headers(response)
        return response

    return wrapped


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses before any view: in JSON below `/api/`."""
    if _is_ours(request):
        return reply(request, exception)
    return defaults.bad_request(request, exception)


def _is_ours(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def _bound(request: HttpRequest) -> None:
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        # Django takes it for empty; a job must not run without the arguments that were sent.
        raise ninja.HttpError(400, NO_LENGTH)
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise RequestDataTooBig(TOO_BIG)
    # Read now: the CSRF check would take a form apart, and nobody could read the body after it.
    if len(request.body) < int(length):
        # The client went away half-way: what it wanted is not known.
        raise ninja.HttpError(400, CUT_SHORT)
