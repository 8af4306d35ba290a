"""Keep web processes up to date with the configuration file."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from jobs import registry


class RegistryMiddleware:
    """Looks, before each request, whether the configuration file changed (one `stat` per file)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Follow the file, then answer; a broken file never fails a request."""
        registry.ensure_current(recheck_problems=True)
        return self.get_response(request)
