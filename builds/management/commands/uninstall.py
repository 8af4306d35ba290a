"""Drop all tables."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import connection

from jobcontrol.exceptions import InvalidRequest
from jobcontrol_site.commands import EXIT_WRONG
from jobcontrol_site.commands import Command as BaseCommand


class Command(BaseCommand):
    """Drop every table that `install` made. Other tables of the database are left alone."""

    help = "Drop all tables, with every build in them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the answer to the question."""
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="don't ask")

    def run(self, **options: Any) -> None:
        """Ask, and drop."""
        tables = our_tables()
        if tables and not options["yes"]:
            self._ask(len(tables))
        drop(tables)
        self.emit({"dropped": tables}, human=lambda _: f"{len(tables)} tables dropped.")

    def _ask(self, count: int) -> None:
        if not sys.stdin.isatty():
            raise InvalidRequest(
                "uninstall deletes every job, build, log and user. There is no terminal to ask "
                "you on: say --yes."
            )
        self.stderr.write(
            f"This drops {count} tables of {_database_label()}: every build, log and user.\n"
            "Stop the web server and all workers first. Type 'yes' to go on: ",
            ending="",
        )
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            self.warn("nothing was dropped.")
            sys.exit(EXIT_WRONG)


def our_tables() -> list[str]:
    """Return the tables of this site that stand in the database."""
    with connection.cursor() as cursor:
        existing = set(connection.introspection.table_names(cursor))
    named = {table.lower() for table in connection.introspection.django_table_names()}
    caches = {
        str(cache["LOCATION"]).lower()
        for cache in settings.CACHES.values()
        if cache["BACKEND"].endswith("DatabaseCache")
    }
    wanted = {*named, *caches, "django_migrations"}
    return sorted(table for table in existing if table.lower() in wanted)


def drop(tables: list[str]) -> None:
    """Drop the tables, all or none."""
    # The editor switches foreign keys off on SQLite; PostgreSQL's statement cascades.
    with connection.schema_editor() as editor:
        for table in tables:
            editor.execute(editor.sql_delete_table % {"table": editor.quote_name(table)})


def _database_label() -> str:
    """Return the database for people, without its password."""
    return f"{connection.display_name} {connection.settings_dict['NAME']!s}"
