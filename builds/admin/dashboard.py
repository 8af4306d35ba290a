"""The start page of the admin."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from builds.admin.live import PARAMETER, live_page
from builds.pages.dashboard import Look, dashboard, dashboard_stamp, overview_tab

TEMPLATE = "admin/index.html"


def start_page(request: HttpRequest, title: str) -> HttpResponse:
    """Show the start page, or what is new on it."""
    may = cast("Any", request.user).has_perm
    look = Look()
    is_refresh = PARAMETER in request.GET

    def make() -> dict[str, Any]:
        found = dashboard(may, look)
        parts = {
            **found,
            "tab": overview_tab(title, found),
            "title": title,
            "config_path": settings.JOBCONTROL_CONFIG,
        }
        if is_refresh:
            return parts
        frame = admin.site.each_context(request)
        return {**frame, **parts, "app_list": frame["available_apps"]}

    return live_page(request, TEMPLATE, stamp=lambda: dashboard_stamp(look), make=make)


cast("Any", admin.site).dashboard = start_page
