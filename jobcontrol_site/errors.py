"""What a page says when it can't be made, and what the log says of the same."""

from __future__ import annotations

import secrets
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader

from builds.api import errors as api

RETRY_SECONDS = 5
ID_HEADER = "X-Error-Id"


def server_error(request: HttpRequest) -> HttpResponse:
    """Say that the database is away, as 503, if that is it; else that something went wrong.

    Django calls it while it handles the exception. Below `/api/` the answer is JSON.
    """
    error = sys.exc_info()[1]
    if request.path_info.startswith("/api/") and isinstance(error, Exception):
        return api.reply(request, error)
    is_away = isinstance(error, OperationalError | InterfaceError)
    # Without the request: what every page shows comes from the database.
    template = loader.get_template("503.html" if is_away else "500.html")
    text = template.render({"error_id": error_id(request)})
    response = HttpResponse(text, status=503 if is_away else 500)
    response.headers[ID_HEADER] = error_id(request)
    if is_away:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Say that a form was not accepted, to whoever is logged in; Django logs the reason."""
    return render(request, "403_csrf.html", status=403)


def error_id(request: HttpRequest) -> str:
    """Return the name under which the page and the log tell of a request that failed."""
    found = getattr(request, "error_id", "")
    if not found:
        found = secrets.token_hex(4)
        request.error_id = found  # type: ignore[attr-defined]
    return str(found)
