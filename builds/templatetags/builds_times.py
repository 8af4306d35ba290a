"""Moments for people: in the site's zone, the exact time on hover, the zone's own in the browser.

`pages.js` rewrites these elements in the reader's own time zone; without it the site's stands.
"""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

register = template.Library()


@register.simple_tag
def when(moment: datetime | None, missing: str = "–") -> SafeString | str:
    """Show a moment to the second; `missing` where there is none."""
    if moment is None:
        return missing
    return _element("jc-when", moment, f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}")


@register.simple_tag
def ago(moment: datetime | None, missing: str = "–") -> SafeString | str:
    """Show how long ago a moment was; `missing` where there is none."""
    if moment is None:
        return missing
    passed = (timezone.now() - moment).total_seconds()
    text = "just now" if passed < 60 else f"{timesince(moment, depth=1)} ago"
    return _element("jc-ago", moment, text)


def _element(kind: str, moment: datetime, text: str) -> SafeString:
    local = timezone.localtime(moment)
    exact = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"
    return format_html(
        '<time class="{}" datetime="{}" title="{}">{}</time>', kind, local.isoformat(), exact, text
    )
