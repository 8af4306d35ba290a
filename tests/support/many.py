"""Very many rows at once, made by the database: through the ORM they take half a minute."""

from __future__ import annotations

from django.db import connection
from django.db.models import Model


def copies(row: Model, numbers: range, *, where: str = "true", **columns: str) -> None:
    """Insert a copy of a stored row for each of these numbers.

    `columns` are expressions in SQL in which `n` is the number; so is the condition `where`.
    A primary key that is not among them is a new one.
    """
    quote = connection.ops.quote_name
    names = [
        field.column
        for field in row._meta.concrete_fields
        if field.column in columns or not field.primary_key
    ]
    chosen = ", ".join(columns.get(name, f"one.{quote(name)}") for name in names)
    table, key = quote(row._meta.db_table), quote(row._meta.pk.column)
    own = f"'{row.pk}'" if isinstance(row.pk, str) else int(row.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {table} ({", ".join(map(quote, names))})
            WITH RECURSIVE numbers(n) AS (
                SELECT {numbers[0]} UNION ALL
                SELECT n + {numbers.step} FROM numbers WHERE n < {numbers[-1]}
            ),
            one AS (SELECT * FROM {table} WHERE {key} = {own})
            SELECT {chosen} FROM numbers, one WHERE {where}
            """
        )
