"""The site of pages.py and watchers.py: on a database of its own, which may be kept.

Django is set up for it in this process.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import psycopg
from common import ROOT, bootstrap
from filling import CONFIG, a_traceback, fill, wake
from psycopg import sql

from tests.support.databases import new_database, psycopg_url
from tests.support.site import Site

STATE = ROOT / ".benchmarks"  # the files of a site that is kept


def options(parser: ArgumentParser) -> Namespace:
    """Read the command line: where the database is, and how large it gets."""
    parser.add_argument(
        "--database", default=os.environ.get("DATABASE_URL", ""), metavar="URL",
        help="a PostgreSQL database to make for this; without it, on a server of its own",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="store_true",
        help="leave the database, and use it as it is if it is there (needs --database)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a part of the size: 0.1 for a quick look"
    )
    found = parser.parse_args()
    if found.keep and not found.database:
        parser.error("--keep needs --database URL")
    return found


@contextmanager
def large_site(asked: Namespace) -> Iterator[Site]:
    """Make the site, or find the one that was kept; Django is set up for it in this process."""
    with ExitStack() as stack:
        url = stack.enter_context(_database(asked))
        folder = STATE / urlsplit(url).path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        made = stack.enter_context(Site(folder, url))
        made.write_config(CONFIG)
        os.environ.update(made.env)
        made.migrate()
        import django

        django.setup()
        from django.db import connections

        stack.callback(connections.close_all)
        _fill_once(made, asked.scale)
        wake(execute)
        import_module("jobcontrol_site.wsgi")  # as a web server does, which prepares the process
        yield made


def _fill_once(made: Site, scale: float) -> None:
    from django.contrib.auth.models import User

    from builds.plan_models import Plan
    from builds.upkeep_models import Cluster

    if Cluster.objects.exists():  # they come last
        print("The database is filled already.", flush=True)
        return
    if Plan.objects.exists():  # they come first
        sys.exit("The database is filled in part only: drop it.")
    User.objects.filter(username="admin").delete()
    User.objects.create_superuser("admin", id=1)
    made.manage("sync_jobs", check=True)
    fill(execute, a_traceback(), scale=scale)


def execute(text: str) -> Any:
    """Run a statement, or several, and return the rows of the last one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def _database(asked: Namespace) -> Iterator[str]:
    if not asked.database:
        bootstrap.postgres_url(bootstrap.FOLDER)
        with new_database() as url:
            yield url
        return
    url = psycopg_url(asked.database)
    server = psycopg_url(asked.database, name="postgres")
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(server, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        is_there = known.fetchone() is not None
        if is_there and not asked.keep:
            sys.exit(f"There is a database {name} already: drop it, or use it with --keep.")
        if not is_there:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield url
    finally:
        if not asked.keep:
            with psycopg.connect(server, autocommit=True) as connection:
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))
