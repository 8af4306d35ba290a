"""Addresses: everything stands inside the admin site."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from builds.api import errors
from builds.api import site as api

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
]

handler400 = errors.bad_request
handler500 = errors.server_error
