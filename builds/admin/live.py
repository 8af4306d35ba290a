"""Pages that stay true while they are open: refreshed in parts, as long as something may change.

A page's template serves both the first load and every refresh. A refresh tells the stamp that it
has; while that is still right the answer is empty, and costs a few queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

PARAMETER = "live"
STAMP_HEADER = "X-Live-Stamp"
EVERY_HEADER = "X-Live-Every"

FIRST_LOAD = "admin/base_site.html"
REFRESH = "builds/live.html"


@dataclass(frozen=True)
class Live:
    """How a page is refreshed: from where, and after how many seconds; 0: nothing changes more."""

    address: str
    every: float


def live_page(
    request: HttpRequest,
    template: str,
    *,
    stamp: Callable[[], str],
    make: Callable[[], dict[str, Any]],
) -> HttpResponse:
    """Answer with the whole page, with those parts of it that may change, or that nothing did.

    `stamp` looks (see `builds.pages.stamps`) before `make` reads what the page shows: what changes
    in between is in the next refresh again, and never missed. `make` says as `refresh_seconds` when
    to ask again. The first load has no stamp, so that it costs no look; its first refresh brings
    one, and parts that the browser finds unchanged.
    """
    known = request.GET.get(PARAMETER)
    if known is None:
        context = make()
        live = Live(request.get_full_path(), context["refresh_seconds"])
        return TemplateResponse(request, template, {**context, "live": live, "base": FIRST_LOAD})
    seen = stamp()
    response: HttpResponse
    if known == seen:
        response = HttpResponse(status=204)
    else:
        context = make()
        response = TemplateResponse(request, template, {**context, "base": REFRESH})
        response.headers[EVERY_HEADER] = f"{context['refresh_seconds']:g}"
    response.headers[STAMP_HEADER] = seen
    return response
