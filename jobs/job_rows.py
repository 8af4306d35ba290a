"""Writing many rows of jobs in few statements, past the ORM's objects.

On PostgreSQL a chunk of rows is one statement, which gets them as one JSON document; on SQLite it
is one `executemany`. The ORM's objects and long statements cost several times what the databases
do. Only `jobs.mirror` calls this, within its transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from django.db import connection

from jobs.models import Job, refuse_unless_syncing

CHUNK_ROWS = 500
CHUNK_CHARACTERS = 8 * 1024 * 1024  # a single text can have a million

Row = Mapping[str, str | int | None]
"""A value for each column, as the column holds it: JSON as text."""

# What was found about a function stays while the job has that function.
_KEPT = ("problem", "docs")


def upsert_jobs(rows: Iterable[Row]) -> None:
    """Insert these jobs, or update those that are there; each row has the same columns."""
    refuse_unless_syncing()
    for chunk in _chunks(rows):
        names = list(chunk[0])
        columns = ", ".join(_quoted(name) for name in names)
        # Not the key: then PostgreSQL would wait for all who ask for builds of these jobs just now.
        assignments = ", ".join(_assignment(name) for name in names if name != "id")
        if connection.vendor == "postgresql":
            rows_given = f"json_populate_recordset(NULL::{_table()}, %s::json)"
            source = f"SELECT {columns} FROM {rows_given}"  # noqa: S608 - names of ours
        else:
            source = f"VALUES ({', '.join(['%s'] * len(names))})"
        statement = f"INSERT INTO {_table()} ({columns}) {source}"
        _execute(f"{statement} ON CONFLICT (id) DO UPDATE SET {assignments}", chunk, names)


def update_checks(rows: Iterable[Row]) -> None:
    """Set `problem` and `docs` of the jobs with these ids."""
    refuse_unless_syncing()
    for chunk in _chunks(rows):
        if connection.vendor == "postgresql":
            statement = (
                f"UPDATE {_table()} SET problem = found.problem, docs = found.docs "  # noqa: S608
                "FROM json_to_recordset(%s::json) AS found(id text, problem text, docs text) "
                f"WHERE {_table()}.id = found.id"
            )
        else:
            statement = f"UPDATE {_table()} SET problem = %s, docs = %s WHERE id = %s"  # noqa: S608
        _execute(statement, chunk, ["problem", "docs", "id"])


def _assignment(name: str) -> str:
    column, new = _quoted(name), f"EXCLUDED.{_quoted(name)}"
    if name not in _KEPT:
        return f"{column} = {new}"
    same = f"{_table()}.function = EXCLUDED.function"
    return f"{column} = CASE WHEN {same} THEN {_table()}.{column} ELSE {new} END"


def _execute(statement: str, rows: list[Row], names: list[str]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(statement, [json.dumps(rows, ensure_ascii=False)])
        else:
            cursor.executemany(statement, [tuple(row[name] for name in names) for row in rows])


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(chunk) == CHUNK_ROWS or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _table() -> str:
    return _quoted(Job._meta.db_table)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
