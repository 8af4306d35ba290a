"""What a page says when it can't be made."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.views import defaults

from builds.api import errors as api

RETRY_SECONDS = 5


def server_error(request: HttpRequest) -> HttpResponse:
    """Say that the database is away, as 503, if that is it; else what Django says.

    Django calls it while it handles the exception. Below `/api/` the answer is JSON.
    """
    error = sys.exc_info()[1]
    if request.path_info.startswith("/api/") and isinstance(error, Exception):
        return api.reply(request, error)
    if not isinstance(error, OperationalError | InterfaceError):
        return defaults.server_error(request)
    # Without a request: what every page shows comes from the database.
    text = loader.get_template("503.html").render()
    return HttpResponse(text, status=503, headers={"Retry-After": str(RETRY_SECONDS)})
