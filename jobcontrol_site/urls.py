"""Addresses: everything stands inside the admin site."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from builds import health
from builds.api import errors as api_errors
from builds.api import site as api
from jobcontrol_site import errors

admin.autodiscover()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("healthz", health.healthz, name="healthz"),
]

handler400 = api_errors.bad_request
handler500 = errors.server_error
