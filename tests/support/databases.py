"""Databases of their own for the sites that tests make."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


def sqlite_url(path: Path) -> str:
    """Return the URL of the SQLite database at `path`."""
    return f"sqlite:///{path}"


def psycopg_url(url: str, *, name: str | None = None) -> str:
    """Return `url` in a form that psycopg reads, with another database `name` if given."""
    parts = urlsplit(url)
    path = parts.path if name is None else f"/{name}"
    return urlunsplit(("postgresql", parts.netloc, path, parts.query, ""))


@contextmanager
def new_database(*, template: str | None = None) -> Iterator[str]:
    """Make a PostgreSQL database (a copy of the one at `template`) and drop it at the end."""
    server = os.environ["TEST_DATABASE_URL"]
    name = f"jobcontrol_site_{uuid.uuid4().hex[:12]}"
    origin = urlsplit(template).path.strip("/") if template else "template1"
    with psycopg.connect(psycopg_url(server), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(origin)
            )
        )
    try:
        yield psycopg_url(server, name=name)
    finally:
        with psycopg.connect(psycopg_url(server), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
