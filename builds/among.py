"""Rows by the keys that a subquery finds, one after the other, however large the table is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import F, QuerySet
from django.db.models.lookups import In

if TYPE_CHECKING:
    AnyIn = In[Any]
else:
    AnyIn = In


class _Among(AnyIn):
    """`IN`, but that PostgreSQL runs the subquery first and then looks each key up.

    For `IN` it may walk through the table instead, in the hope that the rows come soon.
    """

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Compare with an array."""
        lhs, lhs_params = self.process_lhs(compiler, connection)
        rhs, rhs_params = self.process_rhs(compiler, connection)
        return f"{lhs} = ANY(ARRAY{rhs})", (*lhs_params, *rhs_params)


def among(keys: QuerySet[Any, Any]) -> Any:
    """Return the condition that a row's primary key is one of `keys`, which are few."""
    return _Among(F("pk"), keys.query)
