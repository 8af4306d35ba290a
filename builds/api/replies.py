"""What all replies share."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from builds.api.schemas import Problem

LINK: dict[str, Any] = {
    "responses": {
        200: {
            "headers": {
                "Link": {
                    "description": 'the address of the next page, `<…>; rel="next"`, if any',
                    "schema": {"type": "string"},
                }
            }
        }
    }
}


def refusals(*statuses: int) -> dict[int, type[Problem] | None]:
    """Return the refusals that an endpoint declares: any may be one of the first four.

    414 comes from the web server itself, which reads no longer address, and is no JSON.
    """
    declared: dict[int, type[Problem] | None] = dict.fromkeys(
        sorted({400, 401, 403, 422, *statuses}), Problem
    )
    return {**declared, 414: None}


def answer(data: Any, status: int = 200) -> HttpResponse:
    """Return a reply as it is: what `builds.presentation` made needs no second validation."""
    return JsonResponse(data, status=status, safe=False)


def with_next(
    request: HttpRequest, response: HttpResponse, changes: dict[str, int] | None
) -> HttpResponse:
    """Add the address of the next page: this one with `changes` of its query."""
    if changes:
        query = request.GET.copy()
        for name, value in changes.items():
            query[name] = str(value)
        address = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
        response["Link"] = f'<{address}>; rel="next"'
    return response
