"""The statements that every build costs, put together once in a process.

Django needs several times as long to make a query into SQL as the database needs to answer it. So
these are made from querysets as all others are, but with slots where their values go, and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connection, models
from django.db.models.sql import UpdateQuery

from builds.models import Build


class Slot(models.Expression):
    """The place of a value that is given when the statement runs: one for a column, by a name."""

    def __init__(self, name: str, column: models.Field[Any, Any]) -> None:
        super().__init__(output_field=column)
        self.name = name
        self.column = column

    def as_sql(self, *_: object, **__: object) -> tuple[str, Any]:
        """Return the mark of a value, and itself in its place."""
        return "%s", [self]


def slot(model: type[models.Model], column: str) -> Slot:
    """Return the place of a value for that column, whose name it has."""
    return Slot(column, model._meta.get_field(column))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Statement:
    """SQL, and its parameters with slots among them."""

    sql: str
    parameters: Sequence[Any]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the parameters, with what is given by name in the slots."""
        return [
            part.column.get_db_prep_save(given[part.name], connection)
            if isinstance(part, Slot)
            else part
            for part in self.parameters
        ]

    def run(self, **given: Any) -> int:
        """Run it, and return how many rows it changed."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.values(given))
            return int(cursor.rowcount)


def update(rows: models.QuerySet[Any], **changes: Any) -> Statement:
    """Return what `rows.update(**changes)` would run."""
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    query.clear_select_clause()
    return Statement(*query.get_compiler(connection=connection).as_sql())


def run_both(first: Statement, second: Statement, **given: Any) -> bool:
    """Run an UPDATE, and if that changed a row another one; return whether it did.

    The second one has to have a WHERE, and change a row then.
    """
    if connection.vendor != "postgresql":
        return first.run(**given) > 0 and second.run(**given) > 0
    # In one, as each statement is a wait for the server.
    text = f"WITH changed AS ({first.sql} RETURNING 1) {second.sql} AND EXISTS (TABLE changed)"
    return Statement(text, [*first.parameters, *second.parameters]).run(**given) > 0


# --- The build that an UPDATE took ----------------------------------------------------------------


def take(taking: Statement, **given: Any) -> Build | None:
    """Run an UPDATE of one build at most that sets its `claim_token`, and return what it took.

    With its job and its payload, so that nothing of it is looked up when it runs.
    """
    reading = _reading()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # The rows that were changed stand in the place of the table.
            table = connection.ops.quote_name(Build._meta.db_table)
            cursor.execute(
                f"WITH {table} AS ({taking.sql} RETURNING *) {reading.all}", taking.values(given)
            )
        else:
            cursor.execute(taking.sql, taking.values(given))
            if not cursor.rowcount:
                return None
            cursor.execute(reading.by_token.sql, reading.by_token.values(given))
        row = cursor.fetchone()
    return None if row is None else reading.build(row)


class _Reading:
    """How a build is read with its job and its payload: the statements, and what a row becomes."""

    def __init__(self) -> None:
        builds = Build.objects.select_related("job", "payload").order_by()
        compiler = builds.query.get_compiler(connection=connection)
        self.all, _ = compiler.as_sql()
        columns = [column for column, *_ in compiler.select]
        self._converters = list(compiler.get_converters(columns).items())
        held = builds.filter(claim_token=slot(Build, "claim_token"))
        self.by_token = Statement(*held.query.get_compiler(connection=connection).as_sql())
        job, payload = (Build._meta.get_field(name).related_model for name in ("job", "payload"))
        self._parts = list(_slices([Build, job, payload]))

    def build(self, row: Sequence[Any]) -> Build:
        """Return the build of a row."""
        values = list(row)
        for place, (converters, column) in self._converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        build, job, payload = (
            model.from_db(connection.alias, names, values[part])
            for model, names, part in self._parts
        )
        build.job, build.payload = job, payload
        assert isinstance(build, Build)
        return build


def _slices(made: Sequence[Any]) -> Iterator[tuple[Any, list[str], slice]]:
    """Return each model, the names of its columns, and where they stand in a row."""
    start = 0
    for model in made:
        names = [field.attname for field in model._meta.concrete_fields]
        yield model, names, slice(start, start + len(names))
        start += len(names)


_reading = cache(_Reading)
