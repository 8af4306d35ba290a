"""The API put together: its addresses, and its description."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI
from ninja.operation import Operation
from ninja.parser import Parser

from builds.api import builds, errors, jobs, plans, workers
from builds.api.auth import SessionAuth, TokenAuth
from builds.api.parameters import refusing_unknown
from builds.api.replies import answer

VERSION = "1"
DESCRIPTION = """
Jobs, builds, plans, deletions and workers of JobControl. Every refusal is `{"detail": …}`, in
words.

Send a token made in the admin, `Authorization: Bearer …`; or use the session of the admin, with
`X-CSRFToken` for writes. An id of a job is written into an address percent-encoded.
"""


class StandardParser(Parser):
    """Reads JSON as the standard has it."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's value. Raises ValueError for what is no JSON."""
        return json.loads(request.body, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is none of its values")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice, as in the configuration file: which one was meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {name!r} stands twice in one object")
    return found


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


@cache
def _parameters() -> dict[str, tuple[str, ...]]:
    """Return the names that each operation takes in the query, by its own name."""
    paths = api.get_openapi_schema()["paths"]
    return {
        operation["operationId"]: tuple(
            parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"
        )
        for methods in paths.values()
        for operation in methods.values()
    }


_refusing_unknown = refusing_unknown(lambda name: _parameters().get(name, ()))
for prefix, router in (
    ("/job", jobs.router),
    ("/build", builds.router),
    ("/plan", plans.router),
    ("/deletion", builds.deletions),
    ("/workers", workers.router),
):
    router.add_decorator(_refusing_unknown)
    api.add_router(prefix, router)


@api.get("/openapi.json", include_in_schema=False)
def describe(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Return the OpenAPI document."""
    return answer(api.get_openapi_schema())


# GET is there for the sake of jobs whose id ends in "/run" or "/plan"; both know POST only.
ALLOW = {"run_job": "POST", "preview_plan": "POST"}


def _nothing_here(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    raise Http404


def _urls() -> tuple[list[URLResolver | URLPattern], str, str]:
    patterns, app_name, namespace = api.urls
    patterns.append(re_path(r"", _nothing_here))
    for pattern in patterns:
        assert pattern.callback is not None
        pattern.callback = errors.as_json(pattern.callback, allow=ALLOW.get(pattern.name or "", ""))
    return patterns, app_name, namespace


urls = _urls()
