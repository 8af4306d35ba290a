"""Inserting many rows: by COPY on PostgreSQL, in one `executemany` on SQLite.

A million-line build, and a plan of ten thousand, spend most of their bookkeeping here; the ORM's
objects would cost three times what the insert itself does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from builds.models import LogMessage

COLUMNS = (
    "build_id",
    "created",
    "level",
    "logger",
    "message",
    "place",
    "origin",
    "exception",
)


def log_values(rows: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return rows, with a value for each of `COLUMNS`, in the form for `insert_log_rows`."""
    return [_values(row) for row in rows]


def insert_log_rows(values: Sequence[tuple[Any, ...]]) -> None:
    """Insert what `log_values` made, in the current transaction."""
    _insert(LogMessage, COLUMNS, values)


def insert_rows(
    model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows with the values of these fields, in the current transaction.

    The database gives the others their values. A single row is sent in one go, without COPY.
    """
    known = {field.name: field for field in model._meta.concrete_fields}
    fields = [known[name] for name in names]
    database = connections[DEFAULT_DB_ALIAS]  # looked up once
    values = [
        tuple(
            field.get_db_prep_save(value, database)
            for field, value in zip(fields, row, strict=True)
        )
        for row in rows
    ]
    _insert(model, [str(field.column) for field in fields], values, copies=len(values) > 1)


def _insert(
    model: type[models.Model],
    names: Iterable[str],
    values: Sequence[tuple[Any, ...]],
    *,
    copies: bool = True,
) -> None:
    if not values:
        return
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(map(connection.ops.quote_name, names))
    if copies and connection.vendor == "postgresql":
        _copy(f"COPY {table} ({columns}) FROM STDIN", values)
    else:
        marks = ", ".join(["%s"] * len(values[0]))
        statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - constants
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)


def _copy(statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    # Django's cursor has no copy(); psycopg's own cursor is below it, in the same transaction.
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.cursor.copy(statement) as copy,
    ):
        for row in values:
            copy.write_row(row)


def _values(row: dict[str, Any]) -> tuple[Any, ...]:
    exception = row["exception"]
    return (
        row["build_id"],
        connection.ops.adapt_datetimefield_value(row["created"]),
        row["level"],
        row["logger"],
        row["message"],
        row["place"],
        row["origin"],
        None if exception is None else json.dumps(exception, ensure_ascii=False),
    )
