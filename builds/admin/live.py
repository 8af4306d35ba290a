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
    """How a page is refreshed: what it shows, and after how many seconds it asks again."""

    address: str
    stamp: str
    every: float  # 0: nothing changes any more


def live_page(
    request: HttpRequest,
    template: str,
    *,
    stamp: tuple[str, float],
    make: Callable[[], dict[str, Any]],
) -> HttpResponse:
    """Answer with the whole page, with those parts of it that may change, or that nothing did.

    `stamp` (see `builds.pages.stamps`) was read before `make` reads what the page shows: what
    changes in between is in the next refresh again, and never missed.
    """
    mark, every = stamp
    known = request.GET.get(PARAMETER)
    if known is None:
        live = Live(request.get_full_path(), mark, every)
        return TemplateResponse(request, template, {**make(), "live": live, "base": FIRST_LOAD})
    response: HttpResponse
    if known == mark:
        response = HttpResponse(status=204)
    else:
        response = TemplateResponse(request, template, {**make(), "live": None, "base": REFRESH})
    response.headers[STAMP_HEADER] = mark
    response.headers[EVERY_HEADER] = f"{every:g}"
    return response
