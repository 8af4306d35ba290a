"""The API put together: its addresses, and its description."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI
from ninja.operation import Operation
from ninja.parser import Parser

from builds.api import builds, errors, jobs
from builds.api.auth import SessionAuth, TokenAuth
from builds.api.replies import answer

VERSION = "1"
DESCRIPTION = """
Jobs, builds and deletions of JobControl. Every refusal is `{"detail": …}`, in words.

Send a token made in the admin, `Authorization: Bearer …`; or use the session of the admin, with
`X-CSRFToken` for writes. An id of a job is written into an address percent-encoded.
"""


class StandardParser(Parser):
    """Reads JSON as the standard has it."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's value. Raises ValueError for what is no JSON."""
        return json.loads(request.body, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


class Api(NinjaAPI):
    """Ninja's API, whose refusals are all made in one place."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Return the reply to a request that ended in an error."""
        return errors.reply(request, exc)

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name by which generated clients know an operation."""
        return operation.view_func.__name__


api = Api(
    title="JobControl",
    version=VERSION,
    description=DESCRIPTION,
    urls_namespace="api",
    openapi_url=None,
    docs_url=None,
    auth=[TokenAuth(), SessionAuth()],
    parser=StandardParser(),
)
api.add_router("/job", jobs.router)
api.add_router("/build", builds.router)
api.add_router("/deletion", builds.deletions)


@api.get("/openapi.json", include_in_schema=False)
def describe(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the OpenAPI document."""
    return answer(api.get_openapi_schema())


def _nothing_here(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    raise Http404


def _urls() -> tuple[list[URLResolver | URLPattern], str, str]:
    patterns, app_name, namespace = api.urls
    patterns.append(re_path(r"", _nothing_here))
    for pattern in patterns:
        assert pattern.callback is not None
        pattern.callback = errors.as_json(pattern.callback)
    return patterns, app_name, namespace


urls = _urls()
