"""Fixtures for the whole suite: its databases, and whole sites for the process tests."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.test import override_settings
from hypothesis import settings as property_settings

from builds.groups import make_groups
from tests import bootstrap
from tests.support.databases import new_database, sqlite_url
from tests.support.needs import need
from tests.support.site import Site

# Machines differ, and other parts of the suite run beside: no example has a limit of time.
property_settings.register_profile("suite", deadline=None)
property_settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """What was imported until now is no garbage: look at it no more (see also `bootstrap`)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Give the test database a name of this run's own; on SQLite make it a file, for threads."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        name = str(bootstrap.FOLDER / "test.sqlite3")
    else:
        name = f"test_jobcontrol_{os.getpid()}"
    database.setdefault("TEST", {})["NAME"] = name


# TRUNCATE makes a new file for each table and each index, which takes longer than most tests.
# Like TRUNCATE this waits for writers first. The constraints are deferred: any order will do.
POSTGRES_FLUSH = """
DO $flush$
DECLARE
    tables text[] := ARRAY[{names}];
    name text;
BEGIN
    IF (SELECT max(pg_relation_size(one::regclass)) FROM unnest(tables) one) > 1000000 THEN
        {truncate}
        RETURN;
    END IF;
    LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE;
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END
$flush$
"""


def _postgres_flush(tables: list[str], truncate: list[str]) -> str:
    """Return what empties these tables."""
    return POSTGRES_FLUSH.format(
        names=", ".join(f"'{name}'" for name in tables),
        tables=", ".join(f'"{name}"' for name in tables),
        truncate="\n".join(truncate),
    )


@pytest.fixture(scope="session", autouse=True)
def _flush_keeps_permissions() -> Iterator[None]:
    """Let the flush after each test with transactions leave permissions and content types be.

    They are the same for ever, and to make them anew takes longer than most tests.
    """
    kept = {"auth_permission", "django_content_type"}
    found: list[str] = []

    def statements(style: Any, connection: Any, **options: Any) -> list[str]:
        if not found:  # the tables are the same for the whole run
            every = connection.introspection.django_table_names(
                only_existing=True, include_views=False
            )
            tables = [name for name in every if name not in kept]
            truncate = connection.ops.sql_flush(style, tables, **options)
            is_postgres = connection.vendor == "postgresql"
            found.extend([_postgres_flush(tables, truncate)] if is_postgres else truncate)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", statements)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_: make_groups())
        yield


@pytest.fixture(scope="session", autouse=True)
def _passwords_cost_nothing() -> Iterator[None]:
    """Hash the passwords of test users fast: what is slow about it is tested by Django."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def site_template() -> Iterator[str]:
    """Migrate one database; every `site` gets a copy of it. Returns its path or URL."""
    folder = bootstrap.FOLDER / "site-template"
    folder.mkdir()
    if bootstrap.database_url(folder).startswith("sqlite"):
        path = folder / "jobcontrol.sqlite3"
        site = Site(folder, sqlite_url(path))
        site.migrate()
        yield str(path)
        return
    with new_database() as url:
        site = Site(folder, url)
        site.migrate()
        yield url


@pytest.fixture
def site(site_template: str, tmp_path: Path) -> Iterator[Site]:
    """A site of its own: folder, configuration file, migrated database, child processes.

    Its registry is empty until the test writes a configuration and something syncs it.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    if "://" not in site_template:
        path = folder / "jobcontrol.sqlite3"
        shutil.copy(site_template, path)
        with Site(folder, sqlite_url(path)) as made:
            yield made
        return
    with new_database(template=site_template) as url, Site(folder, url) as made:
        yield made


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis of this run's own (or `TEST_REDIS_URL`)."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    program = shutil.which("redis-server")
    need("redis-server", found=program is not None)
    socket = bootstrap.FOLDER / "redis.sock"
    command = [str(program), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    command += ["--appendonly", "no", "--dir", str(bootstrap.FOLDER)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not socket.exists():
                assert server.poll() is None, "redis-server ended at its start"
                time.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            server.terminate()
