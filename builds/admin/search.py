"""The search of the whole site, which the head of every page has."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from builds.admin import asking
from builds.models import Build
from builds.pages.search import Question, newest_of, search
from builds.plan_models import Plan

TEMPLATE = "builds/search.html"


def search_page(request: HttpRequest) -> HttpResponse:
    """Show what is found; a number that names one thing leads to it."""
    may = cast("Any", request.user).has_perm
    asked = Question.read(request.GET.get("q", ""), request.GET.get("before", ""))
    found = search(asked, may)
    if found["only"] is not None:
        return HttpResponseRedirect(_address(found["only"]))
    sees_builds = may("builds.view_build")
    context = {
        **admin.site.each_context(request),
        **found,
        "title": f"Search: {asked.text}" if asked.text else "Search",
        "find_text": asked.text,
        "mine": newest_of(request.user) if sees_builds and not asked.words else [],
    }
    return TemplateResponse(request, TEMPLATE, context)


def _address(found: Any) -> str:
    if isinstance(found, Build):
        return reverse("admin:builds_build_change", args=[found.pk])
    if isinstance(found, Plan):
        return reverse("admin:builds_plan_change", args=[found.pk])
    return asking.job_address(found)


cast("Any", admin.site).search = require_safe(search_page)
