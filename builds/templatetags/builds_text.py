"""Filters of our templates."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobcontrol_site import output

register = template.Library()


@register.filter
def seconds(value: float | None) -> str:
    """Show a duration in seconds for people."""
    return output.seconds(value)


@register.filter
def whole_seconds(value: float | None) -> str:
    """Show about how long something takes."""
    return output.whole_seconds(value)


@register.filter
def rate(value: float | None) -> str:
    """Show how many steps are done in a second, a minute or an hour."""
    return output.rate(value)


@register.filter
def moment(value: datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> SafeString | str:
    """Show a time in the site's zone; the exact one, with its zone, stands in its title.

    `pages.js` shows it in the reader's own zone; the title stays.
    """
    if value is None:
        return ""
    local = timezone.localtime(value)
    return format_html(
        '<time class="jc-time" datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        exact_time(value),
        local.strftime(form),
    )


def exact_time(value: datetime) -> str:
    """Return a time to the microsecond, with the site's zone."""
    local = timezone.localtime(value)
    return f"{local:%Y-%m-%d %H:%M:%S.%f %z} ({local.tzname()})"


@register.filter
def moment_ms(value: datetime) -> SafeString | str:
    """Show a time to the millisecond: for lines of a log."""
    local = timezone.localtime(value)
    return moment(value, f"%Y-%m-%d %H:%M:%S.{local.microsecond // 1000:03d}")


@register.filter
def clock(value: datetime | None) -> str:
    """Show the time of day in the site's zone."""
    return f"{timezone.localtime(value):%H:%M:%S}" if value else ""


@register.filter
def badge(status: str) -> SafeString:
    """Show a build's status as a badge: without white space, so that a comma can follow."""
    return format_html('<span class="jc-badge jc-{}">{}</span>', status.lower(), status)


@register.filter
def first_line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
