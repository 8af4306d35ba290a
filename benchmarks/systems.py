"""The systems that are compared: ours, django-q2 as it is, and Celery.

Each has a database of its own in the same place, two workers, the same functions, connections that
stay open, and keeps what came of every task in its database. The peers are set up as fast as we
know how; see docs/performance.md.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from measuring import installed
from places import Place

from tests.support.databases import psycopg_url
from tests.support.site import Site, kill_tree, process_tree

WORKERS = 2
STOP_SECONDS = 30
LOOK_SECONDS = 0.02
MAX_SECONDS = 600.0
ASKING = str(Path(__file__).with_name("asking.py"))

JOBS = """
import os
import time

FIFO = os.environ.get("BENCH_FIFO", "")

def noop():
    return None

def mark():
    now = time.monotonic_ns()
    handle = os.open(FIFO, os.O_WRONLY)
    os.write(handle, b"%d\\n" % now)
    os.close(handle)
"""

CONFIG = """
jobs:
  - {id: noop, function: "bench_jobs:noop"}
  - {id: mark, function: "bench_jobs:mark"}
"""

# The database as ours has it: what differs is what the systems do with it.
PEER_SETTINGS = """
import environ, os

SECRET_KEY = "a-key-for-measuring-only-0123456789"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = {apps}
DATABASES = {{"default": environ.Env.db_url_config(os.environ["DATABASE_URL"])}}
DATABASES["default"]["CONN_MAX_AGE"] = None
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {{
        "transaction_mode": "IMMEDIATE", "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }}
Q_CLUSTER = {{
    "workers": {workers}, "bulk": 50, "queue_limit": 200, "recycle": 100000, "poll": 0.02,
    "save_limit": 0, "timeout": 600, "retry": 1200, "scheduler": False, "catch_up": False,
    "log_level": "WARNING",
}}
if url := os.environ.get("BENCH_REDIS"):
    Q_CLUSTER["redis"] = url
else:
    Q_CLUSTER["orm"] = "default"
"""

CELERY_APP = """
import os
import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench_settings")
django.setup()

import bench_jobs
from celery import Celery

app = Celery("bench")
app.conf.update(
    broker_url=os.environ["BENCH_BROKER"],
    broker_transport_options={options},
    result_backend="django-db",
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
app.conf["CELERY_DB_REUSE_MAX"] = 10**9
noop = app.task(name="noop")(bench_jobs.noop)
mark = app.task(name="mark")(bench_jobs.mark)
"""


class System:
    """Workers that can be started and asked, and a database that tells what they have done."""

    name = ""
    key = ""  # as `asking` calls it
    # Counts what is stored for good, past a number that `_last` gave.
    counted = ""
    last = "SELECT coalesce(max(id), 0) FROM {table}"

    def __init__(self, place: Place) -> None:
        folder = place.new_folder()
        self.site = Site(folder, place.new_database(folder))
        self.site.write_module("bench_jobs", JOBS)
        self.fifo = folder / "marks"
        os.mkfifo(self.fifo)
        self.site.env["BENCH_FIFO"] = str(self.fifo)
        self.place = place
        self._logs = 0
        place.stack.callback(self.site.end_processes)
        self.prepare()

    def prepare(self) -> None:
        """Make its tables and files."""
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        """What Python is given to start the workers."""
        raise NotImplementedError

    @contextmanager
    def working(self) -> Iterator[subprocess.Popen[bytes]]:
        """Let the workers work; yields the process that was started."""
        self._logs += 1
        with (self.site.folder / f"workers-{self._logs}.log").open("wb") as log:
            process = self.site.start(*self.command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            with suppress(subprocess.TimeoutExpired):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=STOP_SECONDS)
            kill_tree(process_tree(process.pid))
            process.wait()

    def ask(self, *arguments: object) -> Any:
        """Have a process of its own ask for work, and return what that printed."""
        return _told(self.site, ASKING, self.key, *map(str, arguments))

    @contextmanager
    def counter(self) -> Iterator[Callable[[], int]]:
        """Have a function that counts what is stored for good from now on."""
        with self._connection() as execute:
            since = execute(self.last)
            yield lambda: execute(self.counted.format(since=since))

    @contextmanager
    def _connection(self) -> Iterator[Callable[[str], int]]:
        url = self.site.database_url
        if url.startswith("sqlite"):
            path = url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as local:
                yield lambda text: int(local.execute(text).fetchone()[0])
            return
        with psycopg.connect(psycopg_url(url), autocommit=True) as server:
            yield lambda text: int((server.execute(text).fetchone() or [0])[0])


class Ours(System):
    """JobControl."""

    name = "JobControl"
    key = "ours"
    counted = "SELECT count(*) FROM builds_build WHERE id > {since} AND end_time IS NOT NULL"
    last = "SELECT coalesce(max(id), 0) FROM builds_build"

    def prepare(self) -> None:
        """Make the site."""
        self.site.env |= {"WORKERS": str(WORKERS), "LOG_LEVEL": "WARNING"}  # as the peers
        if self.place.redis:
            self.site.env["REDIS_URL"] = self.place.redis
        self.site.write_config(CONFIG)
        self.site.migrate()
        self.site.manage("sync_jobs", check=True)

    @property
    def command(self) -> list[str]:
        """Our cluster, as anybody starts it."""
        return [str(Path(ASKING).parent.parent / "manage.py"), "qcluster"]


class Raw(System):
    """django-q2, tuned, saving its results."""

    name = "django-q2"
    key = "raw"
    # Its ids are no numbers; but nothing is deleted.
    counted = "SELECT count(*) - {since} FROM django_q_task WHERE success"
    last = "SELECT count(*) FROM django_q_task"
    apps = ("django_q",)

    def prepare(self) -> None:
        """Make a small Django project."""
        settings = PEER_SETTINGS.format(apps=list(self.apps), workers=WORKERS)
        self.site.write_module("bench_settings", settings)
        folder = str(self.site.folder)
        self.site.env |= {"DJANGO_SETTINGS_MODULE": "bench_settings", "PYTHONPATH": folder}
        if self.place.redis:
            self.site.env["BENCH_REDIS"] = self.place.redis
        done = self.site.run("-m", "django", "migrate", "--verbosity", "0")
        if done.returncode:
            sys.exit(f"{self.name} has no tables:\n{done.stderr}")

    @property
    def command(self) -> list[str]:
        """Its cluster."""
        return ["-m", "django", "qcluster"]


class Celery(Raw):
    """Celery with results in the database, its connections reused."""

    name = "Celery"
    key = "celery"
    counted = (
        "SELECT count(*) FROM django_celery_results_taskresult"
        " WHERE id > {since} AND status = 'SUCCESS'"
    )
    last = "SELECT coalesce(max(id), 0) FROM django_celery_results_taskresult"
    apps = ("django_celery_results",)

    def prepare(self) -> None:
        """Make the project, and the application in it."""
        super().prepare()
        folder, options = self.site.folder / "broker", {}
        if not self.place.spare_redis:
            (folder / "control").mkdir(parents=True)
            options = dict.fromkeys(("data_folder_in", "data_folder_out"), str(folder))
            options |= {"control_folder": str(folder / "control")}
        self.site.write_module("bench_celery", CELERY_APP.format(options=options))
        self.site.env["BENCH_BROKER"] = self.place.spare_redis or "filesystem://"

    @property
    def command(self) -> list[str]:
        """Its workers, without the messages that they send each other."""
        return [
            *("-m", "celery", "-A", "bench_celery", "worker", "--loglevel", "WARNING"),
            *("--concurrency", str(WORKERS), "--without-gossip", "--without-mingle"),
            "--without-heartbeat",
        ]


def celery_name(place: Place) -> str:
    """Return what Celery is called there: with the broker that it has."""
    return "Celery" if place.redis else f"Celery, {'Redis' if place.spare_redis else 'files'}"


def has_celery() -> bool:
    """Whether Celery is installed with what stores its results."""
    return bool(installed("celery") and installed("django-celery-results"))


def drain(system: System, count: int) -> float:
    """Queue so many no-ops, let them be worked off, and return how many were stored a second.

    Counted from the first one that is stored, so that no start of a process is in it.
    """
    with system.counter() as stored:
        system.ask("queue", count)
        begin = time.monotonic()
        with system.working():
            first, seen = begin, 0
            while (done := stored()) < count:
                now = time.monotonic()
                if done and not seen:
                    first, seen = now, done
                if now - begin > MAX_SECONDS:
                    sys.exit(f"{system.name} stored {done} of {count} in {MAX_SECONDS:.0f} s")
                time.sleep(LOOK_SECONDS)
            return (count - seen) / (time.monotonic() - first)


# --- Inside one process ---------------------------------------------------------------------------

INSIDE = str(Path(ASKING).with_name("inside.py"))
INSIDE_MODULE = """
def function():
    raise AssertionError("nothing is to be measured")

def run():
    function()
"""


def new_site(place: Place) -> Site:
    """Make a site of ours with a job `inside`, whose function `inside.in_a_build` chooses."""
    folder = place.new_folder()
    site = Site(folder, place.new_database(folder))
    place.stack.callback(site.end_processes)
    site.env["PYTHONPATH"] += os.pathsep + str(folder)
    site.write_module("bench_jobs", JOBS)
    site.write_module("bench_inside", INSIDE_MODULE)
    site.write_config('jobs: [{id: inside, function: "bench_inside:run"}]\n')
    site.migrate()
    return site


def inside(site: Site, what: str, *arguments: object) -> Any:
    """Have `inside` measure something in a process of the site, and return what it found."""
    return _told(site, INSIDE, what, *map(str, arguments))


def _told(site: Site, *command: str) -> Any:
    """Run a program of ours in the site, however long it takes; return the JSON that it prints."""
    with (site.folder / "said.log").open("w+", encoding="utf-8") as said:
        process = site.start(*command, stdout=subprocess.PIPE, stderr=said, text=True)
        out, _ = process.communicate()
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command[1:3])} failed:\n{said.read()[-4_000:]}")
    return json.loads(out.splitlines()[-1])
