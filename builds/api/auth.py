"""Who asks: a token in the `Authorization` header, or the session of a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from builds import services

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WHO_ARE_YOU = "log in, or send a token: 'Authorization: Bearer …'."
BAD_TOKEN = "this token is not valid: it was mistyped, revoked, or is over. Make a new one."  # noqa: S105
NO_CSRF = "the CSRF check failed: send the cookie's value as 'X-CSRFToken', or use a token."

PERMISSIONS = {
    "jobs.view_job": "see jobs",
    "builds.view_build": "see builds",
    "builds.view_deletion": "see deletions",
    "builds.run_build": "start builds",
    "builds.run_protected_build": "start builds of protected jobs",
    "builds.delete_build": "delete builds",
    "builds.view_cluster": "see workers",
    "builds.drain_cluster": "drain clusters",
}


class TokenAuth(HttpBearer):
    """A token made in the admin; it acts for its user."""

    openapi_description = "A token made in the admin, under API tokens."

    def __call__(self, request: HttpRequest) -> Any:
        """Return the token's user; None when there is no such header. A bad one is refused."""
        header = request.headers.get(self.header)
        if header is None:
            return None
        scheme, _, text = header.partition(" ")
        if scheme.lower() != self.openapi_scheme:
            raise AuthenticationError(message=WHO_ARE_YOU)
        user = self.authenticate(request, text.strip())
        if user is None:
            raise AuthenticationError(message=BAD_TOKEN)
        request.user = user
        return user

    def authenticate(self, request: HttpRequest, token: str) -> User | None:  # noqa: ARG002
        """Return whom the token stands for."""
        return services.user_of_token(token)


class SessionAuth(APIKeyCookie):
    """The session of somebody whom the pages let in; writes need the CSRF token too."""

    param_name = settings.SESSION_COOKIE_NAME
    openapi_description = "The session of the admin, with 'X-CSRFToken' for writes."

    def __call__(self, request: HttpRequest) -> Any:
        """Return who is logged in. Raises for a stranger, and for a write without CSRF token."""
        if not admin.site.has_permission(request):
            raise AuthenticationError(message=WHO_ARE_YOU)
        if check_csrf(request) is not None:
            raise HttpError(403, NO_CSRF)
        return request.user

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:  # noqa: ARG002
        """Return who is logged in."""
        return request.user


def user_of(request: HttpRequest) -> User:
    """Return who asks: nobody gets as far as an endpoint without being known."""
    return cast("User", request.user)


def require(request: HttpRequest, *permissions: str) -> None:
    """Refuse whoever lacks one of the permissions."""
    lacking = [PERMISSIONS[name] for name in permissions if not request.user.has_perm(name)]
    if lacking:
        raise PermissionDenied(f"you may not {' nor '.join(lacking)}.")
