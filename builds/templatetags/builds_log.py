"""Addresses of other parts of a log, with the filters that this page has."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

register = template.Library()

# What says where in the log a page is: of these an address has one at most.
_PLACES = ("after", "before", "from", "line", "tail", "at", "zone")


@register.simple_tag(takes_context=True)
def log_query(context: Context, **changes: Any) -> str:
    """Return the page's query without its place in the log, changed by the arguments.

    What is given as None, or as nothing, is left out.
    """
    query = context["request"].GET.copy()
    for name in _PLACES:
        query.pop(name, None)
    for name, value in changes.items():
        query.pop(name, None)
        if value not in (None, ""):
            query[name] = str(value)
    return f"?{query.urlencode()}"
