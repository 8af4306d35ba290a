"""What browsers are told about our pages, and the settings of a site behind HTTPS."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:  # the settings import this module before anything of Django's is ready
    from django.http import HttpRequest, HttpResponse

# Everything comes from the site itself, in files: no inline script, no inline style, nobody
# else's host. Small pictures may stand in a style sheet (`data:`).
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "frame-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

# What a page of ours has no use for.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media"),
        *("geolocation", "gyroscope", "magnetometer", "microphone", "midi"),
        *("payment", "publickey-credentials-get", "screen-wake-lock", "usb", "xr-spatial-tracking"),
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": PERMISSIONS_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    # These two are Django's as well; but not every reply passes through its middleware.
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]*(\S+)")


class SecurityHeadersMiddleware:
    """Adds the headers to every reply, static files and errors too; a view may set its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add what is missing."""
        response = self.get_response(request)
        for name, value in HEADERS.items():
            if name == "Content-Security-Policy" and _is_debug_page(response):
                continue
            response.headers.setdefault(name, value)
        return response


def proxy_ssl_header(text: str) -> tuple[str, str] | None:
    """Return Django's SECURE_PROXY_SSL_HEADER for `X-Forwarded-Proto: https`; None for "".

    Raises ImproperlyConfigured for anything else that is no header with a value.
    """
    if not text:
        return None
    match = _HEADER.fullmatch(text.strip())
    if match is None:
        raise ImproperlyConfigured(
            "SECURE_PROXY_SSL_HEADER must be a header and the value that says HTTPS, "
            f"such as 'X-Forwarded-Proto: https', not {text!r}."
        )
    name, value = match.groups()
    return f"HTTP_{name.upper().replace('-', '_')}", value


def _is_debug_page(response: HttpResponse) -> bool:
    """Tell Django's own error pages for programmers, which bring style and script along."""
    return settings.DEBUG and response.status_code in (404, 500)
