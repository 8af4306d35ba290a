"""Filters of our templates."""

from __future__ import annotations

from django import template

from jobcontrol_site import output

register = template.Library()


@register.filter
def seconds(value: float | None) -> str:
    """Show a duration in seconds for people."""
    return output.seconds(value)


@register.filter
def first_line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
