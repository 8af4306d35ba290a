"""What the admin pages of builds and jobs share."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString


def user_of(request: HttpRequest) -> Any:
    """Return who is logged in, None for nobody."""
    return request.user if request.user.is_authenticated else None


def partial(template: str, **context: Any) -> SafeString:
    """Return a template's output as the HTML of a cell."""
    return SafeString(render_to_string(template, context))


class ListOfOurs(ChangeList):
    """A list that takes a filter no database can answer for what it is: a mistake."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Filter; a NUL in a filter leads back to the whole list, as other odd filters do."""
        values = (value for found in self.get_filters_params().values() for value in found)
        if any("\x00" in value for value in values):
            raise IncorrectLookupParameters
        return super().get_queryset(request, exclude_parameters)
