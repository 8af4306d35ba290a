"""Pages of long tables, without counting all of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Page, Paginator

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

COUNTED = 10_000


class BoundedPaginator(PaginatorBase):
    """Counts up to `COUNTED` rows; what lies beyond is reached by narrower filters.

    Counting and skipping take time by the number of rows, so both are bounded.
    """

    @cached_property
    def count(self) -> int:
        """Return the number of rows, `COUNTED` at most."""
        return min(self._found, COUNTED)

    @cached_property
    def has_more(self) -> bool:
        """Whether there are rows beyond those counted."""
        return self._found > COUNTED

    def page_uncounted(self, number: Any) -> Page[Any]:
        """Return a page as `get_page` does, but count only for one beyond the last."""
        try:
            place = int(number)
        except (TypeError, ValueError):
            place = 1
        if 1 <= place <= COUNTED // self.per_page:
            start = (place - 1) * self.per_page
            rows: Any = self.object_list
            found = list(rows[start : start + self.per_page])
            if found or place == 1:
                return Page(found, place, self)
        return self.get_page(number)

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: COUNTED + 1].count())
