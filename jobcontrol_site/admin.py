"""The admin site, which is the user interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db.models import Model
from django.db.models.base import ModelBase
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path

_FIRST_MODELS = ["Job", "Build", "Plan"]  # of their apps; the others follow by name


class JobControlAdminSite(AdminSite):
    """Django's admin under our name, without the queue's own pages."""

    site_title = "JobControl"
    site_header = "JobControl"
    index_title = "Overview"
    site_url = None
    empty_value_display = "–"
    # What shows the start page: set by `builds.admin`, which is registered here and not the other
    # way round.
    dashboard: Callable[[HttpRequest, str], HttpResponse] | None = None
    search: Callable[[HttpRequest], HttpResponse] | None = None  # the same

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Add the search of the whole site."""
        page = path("search/", self.admin_view(self._search), name="search")
        found: list[URLResolver | URLPattern] = super().get_urls()
        return [page, *found]

    def _search(self, request: HttpRequest) -> HttpResponse:
        if self.search is None:
            raise Http404
        request.current_app = self.name
        return self.search(request)

    def index(  # type: ignore[override]  # a refresh may answer without a page
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what runs, what broke and what is out of date; below it, all pages."""
        if self.dashboard is None:
            return super().index(request, extra_context)
        request.current_app = self.name
        return self.dashboard(request, self.index_title)

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """List what people come for first: jobs and builds, then users and groups."""
        found: list[dict[str, Any]] = super().get_app_list(request, app_label)
        place = {app.label: number for number, app in enumerate(apps.get_app_configs())}
        for app in found:
            app["models"].sort(key=_place)
        return sorted(found, key=lambda app: place[app["app_label"]])

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: Any = None,
        **options: Any,
    ) -> None:
        """Register models, but none of django-q2: its forms could call any function."""
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else None
        queue_models = set(apps.get_app_config("django_q").get_models(include_auto_created=True))
        wanted = [
            model
            for model in (models if models is not None else list(model_or_iterable))  # type: ignore[arg-type]
            if model not in queue_models and model._meta.app_label != "django_q"
        ]
        super().register(wanted, admin_class, **options)


def _place(model: dict[str, Any]) -> int:
    name = model["object_name"]
    return _FIRST_MODELS.index(name) if name in _FIRST_MODELS else len(_FIRST_MODELS)
