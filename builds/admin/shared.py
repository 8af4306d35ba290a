"""What the admin pages of builds and jobs share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from builds.admin.live_list import LiveListMixin, first_row_of
from builds.admin.paging import BoundedPaginator
from jobs.admin import ListOfOurs, show_to

__all__ = ["ListOfOurs", "LongListMixin", "partial", "user_of"]


def user_of(request: HttpRequest) -> Any:
    """Return who is logged in, None for nobody."""
    return request.user if request.user.is_authenticated else None


def partial(template: str, **context: Any) -> SafeString:
    """Return a template's output as the HTML of a cell."""
    return SafeString(render_to_string(template, context))


class LongChangeList(ListOfOurs):
    """A page of a long table, which knows where the list goes on beyond the rows counted."""

    beyond = ""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page; on the last one of many, offer the older rows."""
        super().get_results(request)
        owner: Any = self.model_admin
        first = first_row_of(request)
        if first is not None:
            self.result_list = self.queryset.filter(pk__lte=first)[: self.list_per_page]
        rows = list(self.result_list)
        owner.complete(rows)
        show_to(request, rows)
        self.result_list = rows
        paginator: Any = self.paginator
        is_last = self.page_num == paginator.num_pages
        if owner.is_by_number and paginator.has_more and rows and is_last:
            self.beyond = self.get_query_string({"id__lt": rows[-1].pk}, ["p"])


class LongListMixin(LiveListMixin):
    """The list of a table that may have any number of rows: nothing counts them all."""

    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count every row
    paginator = BoundedPaginator
    sortable_by = ()
    is_by_number = True

    def get_changelist(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> type[ChangeList]:
        """Use the list that bears odd filters."""
        return LongChangeList

    def complete(self, rows: list[Any]) -> None:
        """Add to the rows of a page what the list shows besides their columns."""
