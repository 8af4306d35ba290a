"""How long ago something was, with the exact time on hover."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from builds.templatetags.builds_text import exact_time

register = template.Library()


@register.simple_tag
def ago(moment: datetime | None, missing: str = "–") -> SafeString | str:
    """Show how long ago a moment was; `missing` where there is none."""
    if moment is None:
        return missing
    passed = (timezone.now() - moment).total_seconds()
    text = "just now" if passed < 60 else f"{timesince(moment, depth=1)} ago"
    return format_html(
        '<time class="jc-ago" datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        exact_time(moment),
        text,
    )
