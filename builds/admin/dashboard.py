"""The start page of the admin."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from builds.pages.dashboard import dashboard

TEMPLATE = "admin/index.html"


def start_page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the start page within the admin's `context`."""
    may = cast("Any", request.user).has_perm
    parts = {**dashboard(may), "config_path": settings.JOBCONTROL_CONFIG}
    return TemplateResponse(request, TEMPLATE, {**context, **parts})


cast("Any", admin.site).dashboard = start_page
