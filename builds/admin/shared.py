"""What the admin pages of builds and jobs share."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from jobs.admin import ListOfOurs

__all__ = ["ListOfOurs", "partial", "user_of"]


def user_of(request: HttpRequest) -> Any:
    """Return who is logged in, None for nobody."""
    return request.user if request.user.is_authenticated else None


def partial(template: str, **context: Any) -> SafeString:
    """Return a template's output as the HTML of a cell."""
    return SafeString(render_to_string(template, context))
