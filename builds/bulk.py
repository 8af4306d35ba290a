"""Inserting many rows: by COPY on PostgreSQL, in `executemany` on SQLite.

A million-line build, and a plan of ten thousand, spend most of their bookkeeping here; the ORM's
objects would cost three times what the insert itself does, and its way to write a time as much as
all the rest of a row of a log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from builds import logs
from builds.models import LogMessage
from jobs.redaction import Redactor

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
GROUP = 10  # rows of one statement


def log_values(
    entries: Iterable[logs.LogEntry], *, build_id: int, redactor: Redactor
) -> list[tuple[Any, ...]]:
    """Return a row for each record, with a value for each of `COLUMNS`, for `insert_log_rows`.

    Redacted first, cleaned and cut after.
    """
    time_text = _time_writer()
    return [_values(entry, build_id, redactor, time_text) for entry in entries]


def insert_log_rows(values: Sequence[tuple[Any, ...]]) -> None:
    """Insert what `log_values` made, in the current transaction."""
    _insert(LogMessage, COLUMNS, values)


def insert_rows(
    model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows with the values of these fields, in the current transaction.

    The database gives the others their values.
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
    _insert(model, [str(field.column) for field in fields], values)


def _insert(
    model: type[models.Model], names: Iterable[str], values: Sequence[tuple[Any, ...]]
) -> None:
    if not values:
        return
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(map(connection.ops.quote_name, names))
    insert = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 - names of ours
    marks = f"({', '.join(['%s'] * len(values[0]))})"
    if connection.vendor != "postgresql":
        _execute_many(insert, marks, values)
    elif len(values) <= GROUP:
        # One wait for the server, where COPY waits five times: most builds have a few only.
        with connection.cursor() as cursor:
            cursor.execute(insert + ", ".join([marks] * len(values)), sum(values, ()))
    else:
        _copy(f"COPY {table} ({columns}) FROM STDIN", values)


def _execute_many(insert: str, marks: str, values: Sequence[tuple[Any, ...]]) -> None:
    # A row by itself takes a third more than one among some, and lets go of the interpreter, which
    # a job that logs without a pause then takes.
    whole = len(values) - len(values) % GROUP
    groups = [sum(values[at : at + GROUP], ()) for at in range(0, whole, GROUP)]
    with connection.cursor() as cursor:
        if groups:
            cursor.executemany(insert + ", ".join([marks] * GROUP), groups)
        if whole < len(values):
            cursor.executemany(insert + marks, values[whole:])


def _copy(statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    # Django's cursor has no copy(); psycopg's own cursor is below it, in the same transaction.
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.cursor.copy(statement) as copy,
    ):
        for row in values:
            copy.write_row(row)


def _values(
    entry: logs.LogEntry, build_id: int, redactor: Redactor, time_text: Callable[[Any], str]
) -> tuple[Any, ...]:
    created, level, name, message, file, line, function, process, thread, exception = entry
    logger, place, origin = logs.labels(redactor, name, file, line, function, process, thread)
    return (
        build_id,
        time_text(created),
        logs.level_number(level),
        logger,
        redactor.redact_start(message, logs.MAX_MESSAGE_CHARS),
        place,
        origin,
        None
        if exception is None
        else json.dumps(logs.exception_json(exception), ensure_ascii=False),
    )


def _time_writer() -> Callable[[Any], str]:
    """Return what makes the text of a time as the database reads it."""
    # As Django has them: on SQLite without a zone, in that of the connection.
    has_zone = connection.vendor == "postgresql"
    zone: tzinfo = UTC if has_zone else connection.timezone or UTC
    after = "+00:00" if has_zone else ""

    def time_text(seconds: Any) -> str:
        try:
            second, micros = divmod(round(seconds * 1e6), 1_000_000)
            start = _second_text(second, zone)
        except (ValueError, OverflowError, OSError, TypeError):
            return time_text(time.time())
        return f"{start}.{micros:06d}{after}" if micros else start + after

    return time_text


@lru_cache(maxsize=64)
def _second_text(second: int, zone: tzinfo) -> str:
    return str(datetime.fromtimestamp(second, zone))[: len("2000-01-01 00:00:00")]
