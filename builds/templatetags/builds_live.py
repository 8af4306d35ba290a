"""What a template says about its refresh while it is open (see builds.admin.live)."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from builds.admin.live import Live

register = template.Library()


@register.simple_tag(takes_context=True)
def live_root(context: dict[str, Any]) -> SafeString | str:
    """Print the attributes of the element around all parts."""
    live: Live | None = context.get("live")
    if live is None:
        return ""
    return format_html(
        'data-live="{}" data-every="{}" data-login="{}"',
        live.address,
        f"{live.every:g}",
        reverse("admin:login"),
    )


@register.simple_tag
def live_part(name: str) -> SafeString:
    """Print the attributes of a part that is replaced when it has changed."""
    return format_html('id="{}" hx-swap-oob="true"', name)
