"""What SQL calls by another name on each database."""

from __future__ import annotations

from django.db import connection
from django.db.models import Expression, F, Func, TextField


def joined(texts: Expression | F) -> Func:
    """Return the different texts of a group as one, with commas between; NULL when none is."""
    is_postgres = connection.vendor == "postgresql"
    comma = ", ','" if is_postgres else ""  # SQLite's own, with DISTINCT
    return Func(
        texts,
        function="string_agg" if is_postgres else "group_concat",
        template=f"%(function)s(DISTINCT %(expressions)s{comma})",
        output_field=TextField(),
    )
