"""What this process says to the database: each statement and each commit, of every connection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from builds import bulk

_TABLES = re.compile(r'(?:(SELECT|DELETE)\b.*?\bFROM|(INSERT) INTO|(UPDATE)|(COPY)) "(\w+)"', re.S)
_WITH = re.compile(r'^WITH "?\w+"? AS \(')
_INNER = re.compile(r"\([^()]*\)")
_WRITES = ("UPDATE", "DELETE", "INSERT", "COPY")


def _short(sql: str) -> str:
    """Return what a statement does to which table: `INSERT builds_build`."""
    text = _WITH.sub("", sql.strip())  # changed and told of in one statement
    while text != (outer := _INNER.sub("", text)):
        text = outer
    found = _TABLES.match(text)
    if found is None:
        return " ".join(text.split()[:2])
    *verbs, table = found.groups()
    verb = next(filter(None, verbs))
    return f"{verb} {table}{' (lock)' if verb == 'SELECT' and ' FOR ' in text else ''}"


class Heard:
    """The statements in their order, shortened; what stands outside of a transaction says so."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def commits(self) -> int:
        """How many transactions were committed that may have written something."""
        return sum(line == "COMMIT" or line.endswith("at once") for line in self.lines)

    def take(self) -> list[str]:
        """Return what was said since the last time."""
        taken, self.lines = self.lines, []
        return taken

    def hear(self, connection: BaseDatabaseWrapper, sql: str) -> None:
        """Note a statement."""
        line = _short(sql)
        if line.startswith("BEGIN"):
            return  # SQLite's; of both databases it is noted as they begin
        alone = not connection.in_atomic_block and line.startswith(_WRITES)
        self.lines.append(f"{line}, at once" if alone else line)


@contextmanager
def heard() -> Iterator[Heard]:
    """Listen to all connections of this process, of whatever thread."""
    every = Heard()
    cursor_execute, cursor_many = CursorWrapper.execute, CursorWrapper.executemany
    copy, begin = bulk._copy, BaseDatabaseWrapper.set_autocommit
    ends = {name: getattr(BaseDatabaseWrapper, name) for name in ("_commit", "_rollback")}

    def execute(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        every.hear(self.db, sql)
        return cursor_execute(self, sql, params)

    def executemany(self: CursorWrapper, sql: str, params: Any) -> Any:
        every.hear(self.db, sql)
        return cursor_many(self, sql, params)

    def copied(statement: str, values: Any) -> None:
        every.hear(bulk.connection, statement)  # type: ignore[arg-type]
        copy(statement, values)

    def set_autocommit(self: BaseDatabaseWrapper, autocommit: bool, *args: Any, **kw: Any) -> None:
        if not autocommit:
            every.lines.append("BEGIN")
        begin(self, autocommit, *args, **kw)

    def ended(name: str, line: str) -> Any:
        def end(self: BaseDatabaseWrapper) -> Any:
            every.lines.append(line)
            return ends[name](self)

        return end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", execute)
        patch.setattr(CursorWrapper, "executemany", executemany)
        patch.setattr(bulk, "_copy", copied)
        patch.setattr(BaseDatabaseWrapper, "set_autocommit", set_autocommit)
        patch.setattr(BaseDatabaseWrapper, "_commit", ended("_commit", "COMMIT"))
        patch.setattr(BaseDatabaseWrapper, "_rollback", ended("_rollback", "ROLLBACK"))
        yield every
