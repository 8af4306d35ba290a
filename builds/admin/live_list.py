"""Lists that stay true while they are open: rows change where they stand, new ones come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from builds.admin import live
from builds.pages import refreshing
from builds.pages.stamps import stamp_of
from jobs.admin import AnyAdminBase, ListOfOurs

# A later page of a list by number stays with the rows that it showed at first.
FIRST_ROW = "first_row"


class Glance(ListOfOurs):
    """The rows of one page of a list, read by nothing but their queryset: none is counted."""

    rows: QuerySet[Any]

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows; whoever wants to know something of them reads it."""
        start = (max(self.page_num, 1) - 1) * self.list_per_page
        self.rows = window(self.queryset, first_row_of(request), start, self.list_per_page)


def first_row_of(request: HttpRequest) -> int | None:
    """Return the number of the row that a page began with, where its refresh tells one."""
    number: int | None = getattr(request, FIRST_ROW, None)
    return number


def window(rows: QuerySet[Any], first: int | None, start: int, size: int) -> QuerySet[Any]:
    """Return the rows of a page that begins after `start` rows, or with the `first`."""
    if first is not None:
        return rows.filter(pk__lte=first)[:size]
    return rows[start : start + size]


class LiveRows(AnyAdminBase):
    """Rows that change by themselves while people look at them."""

    def look(self, rows: QuerySet[Any]) -> object:
        """Return, by a few queries, what decides how the rows of a page look."""
        return list(rows.values_list("pk", flat=True))

    def seconds(self, rows: Sequence[Any]) -> float:  # noqa: ARG002 - for those who tell by them
        """Return how soon a page with such rows is to be looked at again."""
        return refreshing.QUIET


class LiveListMixin(LiveRows):
    """A list of the admin that stays true while it is open."""

    # Whether it is ordered by number, the newest first.
    is_by_number = False

    def beside(self, request: HttpRequest, rows: Sequence[Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return what the list shows beside its rows."""
        return {}

    def action_checkbox(self, obj: Any) -> SafeString:
        """Return what Django's admin makes by a template for each of the rows."""
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            ACTION_CHECKBOX_NAME,
            obj.pk,
            f"Select this object for an action - {obj}",
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, or what is new on it."""
        parent: Any = super()
        if request.method not in ("GET", "HEAD"):
            answer: HttpResponse = parent.changelist_view(request, extra_context)
            return answer
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        _take_first_row(request)

        def show() -> HttpResponse:
            response: HttpResponse = parent.changelist_view(request, extra_context)
            context: dict[str, Any] | None = getattr(response, "context_data", None)
            if context is not None and "cl" in context:
                rows = list(context["cl"].result_list)
                context["refresh_seconds"] = self.seconds(rows)
                context |= self.beside(request, rows)
                if self.is_by_number and context["cl"].page_num > 1 and rows:
                    context["live_address"] = _address(request, rows[0].pk)
            return response

        def stamp() -> str:
            return self.list_stamp(request)

        return live.live_view(request, stamp=stamp, show=show, frame=live.LIST)

    def list_stamp(self, request: HttpRequest) -> str:
        """Return the stamp of the page of the list that is asked for."""
        try:
            glance = Glance(
                request,
                self.model,
                list_display=[],
                list_display_links=(),
                list_filter=self.get_list_filter(request),
                date_hierarchy=None,
                search_fields=self.get_search_fields(request),
                list_select_related=False,
                list_per_page=self.list_per_page,
                list_max_show_all=0,
                list_editable=[],
                model_admin=self,
                sortable_by=[],
                search_help_text=None,
            )
        except IncorrectLookupParameters:
            return ""  # the list itself leads elsewhere
        return stamp_of(self.look(glance.rows))


class LiveRowMixin(LiveRows):
    """The page of one row that stays true while it is open."""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the row, or what is new of it."""
        parent: Any = super()
        if request.method not in ("GET", "HEAD"):
            answer: HttpResponse = parent.change_view(request, object_id, form_url, extra_context)
            return answer
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied

        def show() -> HttpResponse:
            response: HttpResponse = parent.change_view(request, object_id, form_url, extra_context)
            context: dict[str, Any] | None = getattr(response, "context_data", None)
            if context is not None:
                context["refresh_seconds"] = self.seconds([context["original"]])
            return response

        def stamp() -> str:
            row = self.get_object(request, unquote(object_id))
            return "" if row is None else stamp_of(self.look(self._just(request, row)))

        return live.live_view(request, stamp=stamp, show=show, frame=live.FORM)

    def _just(self, request: HttpRequest, row: Any) -> QuerySet[Any]:
        return self.get_queryset(request).filter(pk=row.pk)


def _take_first_row(request: HttpRequest) -> None:
    """Take the row that the page began with out of the query, which is the list's."""
    text = request.GET.get(FIRST_ROW)
    if text is None:
        return
    query = request.GET.copy()
    del query[FIRST_ROW]
    request.GET = query  # type: ignore[assignment]
    if text.isascii() and text.isdecimal() and len(text) < 19:
        setattr(request, FIRST_ROW, int(text))


def _address(request: HttpRequest, first: int) -> str:
    query = request.GET.copy()
    query[FIRST_ROW] = str(first)
    return f"{request.path}?{query.urlencode()}"
