"""How the database finds the rows of each statement that this process sends, while it sends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.db.backends.utils import CursorWrapper

# Those that grow with the number of builds.
LARGE = frozenset(
    {
        *("builds_build", "builds_buildpayload", "builds_builddependency", "builds_buildprogress"),
        *("builds_logmessage", "builds_deletion", "builds_scheduledrun", "django_q_ormq"),
    }
)
_ASKED = ("SELECT", "UPDATE", "DELETE", "WITH")
_ALIAS = re.compile(r'"(\w+)" (?:AS )?"?([A-Z]\d+|T\d+)\b')


class Explained:
    """What was asked, and what is wrong with how it is found; at most `most` rows are read."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tables: set[str] = set()
        self.faults: list[str] = []
        self._is_aside = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do not look at what a test asks for itself."""
        self._is_aside = True
        yield
        self._is_aside = False

    def look(self, cursor: CursorWrapper, sql: str, params: Any) -> None:
        """Explain a statement."""
        if self._is_aside:
            return
        explain = self._on_postgres if cursor.db.vendor == "postgresql" else self._on_sqlite
        faults, plan = explain(cursor, sql, params)
        if faults:
            self.faults.append(f"{'; '.join(faults)}:\n{sql}\n{params}\n{plan}")

    def _on_postgres(self, cursor: CursorWrapper, sql: str, params: Any) -> tuple[list[str], str]:
        options = "ANALYZE, TIMING OFF, FORMAT"
        with transaction.atomic(cursor.db.alias), cursor.db.cursor() as other:
            # It is carried out for that, and taken back.
            other.execute(f"EXPLAIN ({options} JSON) {sql}", params)
            plan = other.fetchone()[0][0]["Plan"]
            transaction.set_rollback(True, cursor.db.alias)
        faults: list[str] = []
        read = 0
        for node in _nodes(plan):
            table = node.get("Relation Name")
            if table not in LARGE:
                continue
            self.tables.add(table)
            if node["Node Type"] == "Seq Scan":
                faults.append(f"reads all of {table}")
            if not node["Node Type"].startswith("Modify"):
                removed = sum(count for key, count in node.items() if key.startswith("Rows Rem"))
                read += (node["Actual Rows"] + removed) * node["Actual Loops"]
        if read > self.most:
            faults.append(f"reads {read:,.0f} rows")
        return faults, _shown(plan)

    def _on_sqlite(self, cursor: CursorWrapper, sql: str, params: Any) -> tuple[list[str], str]:
        with cursor.db.cursor() as other:
            other.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            lines = [row[3] for row in other.fetchall()]
        tables = {alias: table for table, alias in _ALIAS.findall(sql)}
        faults = []
        for line in lines:
            how, _, rest = line.partition(" ")
            name = rest.split()[0].strip('"') if rest else ""
            table = tables.get(name, name)
            if how in ("SCAN", "SEARCH") and table in LARGE:
                self.tables.add(table)
                if how == "SCAN" and "INDEX" not in rest:
                    faults.append(f"reads all of {table}")
        return faults, "\n".join(lines)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _shown(plan: dict[str, Any], depth: int = 0) -> str:
    keys = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Actual Rows")
    keys += ("Actual Loops", "Rows Removed by Filter")
    line = "  " * depth + ", ".join(str(plan[key]) for key in keys if key in plan)
    return "\n".join([line, *(_shown(below, depth + 1) for below in plan.get("Plans", ()))])


@contextmanager
def explained(most: int) -> Iterator[Explained]:
    """Explain what is asked through any connection of this process, of whatever thread."""
    found = Explained(most)
    execute = CursorWrapper.execute

    def explaining(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        if str(sql).lstrip(" (").startswith(_ASKED):
            found.look(self, sql, params)
        return execute(self, sql, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", explaining)
        yield found
