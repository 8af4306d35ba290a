"""Addresses: everything stands inside the admin site."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from builds import health
from builds.api import errors
from builds.api import site as api

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("healthz", health.healthz, name="healthz"),
]

handler400 = errors.bad_request
handler500 = "jobcontrol_site.errors.server_error"
