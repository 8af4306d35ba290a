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

from builds.context_processors import worker_facts
from builds.pages.stamps import stamp_of
from jobs.context_processors import configuration_facts

PARAMETER = "live"
STAMP_HEADER = "X-Live-Stamp"
EVERY_HEADER = "X-Live-Every"


@dataclass(frozen=True)
class Frame:
    """What a page's template extends: on the first load, and in a refresh, as `base`."""

    first_load: str
    refresh: str


PAGE = Frame("admin/base_site.html", "builds/live.html")
LIST = Frame("admin/change_list.html", "builds/live_list.html")
FORM = Frame("admin/change_form.html", "builds/live_form.html")


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

    `make` returns what the template shows; see `live_view` for the rest.
    """

    def show() -> HttpResponse:
        return TemplateResponse(request, template, make())

    return live_view(request, stamp=stamp, show=show, frame=PAGE)


def live_view(
    request: HttpRequest,
    *,
    stamp: Callable[[], str],
    show: Callable[[], HttpResponse],
    frame: Frame,
) -> HttpResponse:
    """Answer as `show` does, which is a page of the admin's own, or by what is new on it.

    `stamp` looks (see `builds.pages.stamps`) before `show` reads what the page shows: what changes
    in between is in the next refresh again, and never missed. The page's context says as
    `refresh_seconds` when to ask again, and as `live_address` where, if that is not the page's own.
    The first load has no stamp, so that it costs no look; its first refresh brings one, and parts
    that the browser finds unchanged.
    """
    known = _without_parameter(request)
    if known is None:
        response = show()
        context = _context_of(response)
        if context is not None:
            address = context.get("live_address", request.get_full_path())
            live = Live(address, context.get("refresh_seconds", 0.0))
            context |= {"live": live, "base": frame.first_load}
        return response
    seen = stamp_of(stamp(), worker_facts(), configuration_facts(), _rights(request))
    response = HttpResponse(status=204)
    if known != seen:
        response = show()
        context = _context_of(response)
        if context is None:
            return _gone()  # it would lead elsewhere
        context["base"] = frame.refresh
        response.headers[EVERY_HEADER] = f"{context['refresh_seconds']:g}"
    response.headers[STAMP_HEADER] = seen
    return response


def instead(request: HttpRequest, lead: Callable[[], HttpResponse]) -> HttpResponse:
    """Lead elsewhere, as what the page showed is not there; a refresh is told that alone.

    Browsers follow redirects by themselves: the words that are told once would go to the refresh.
    """
    return _gone() if PARAMETER in request.GET else lead()


def _rights(request: HttpRequest) -> object:
    """Return what the reader may do: it decides which parts and buttons a page has."""
    user: Any = request.user
    return user.is_superuser or sorted(user.get_all_permissions())


def _gone() -> HttpResponse:
    return HttpResponse(status=404)


def _without_parameter(request: HttpRequest) -> str | None:
    """Take the stamp out of the query, which is the page's: its links repeat what stands there."""
    known = request.GET.get(PARAMETER)
    if known is not None:
        query = request.GET.copy()
        del query[PARAMETER]
        request.GET = query  # type: ignore[assignment]
    return known


def _context_of(response: HttpResponse) -> dict[str, Any] | None:
    context: dict[str, Any] | None = getattr(response, "context_data", None)
    return context
