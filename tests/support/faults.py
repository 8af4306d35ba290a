"""Faults done to a cluster and to the servers it uses, and what must hold after each of them."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests import bootstrap
from tests.support import servers
from tests.support.databases import new_database, sqlite_url
from tests.support.site import Cluster, Site
from tests.support.site import wait_until as wait_for

LEASE_SECONDS = 6
SETTINGS = {
    "WORKERS": 2,
    "HEARTBEAT_SECONDS": 1,
    "LEASE_SECONDS": LEASE_SECONDS,
    "GRACE_SECONDS": 2,
    "SHUTDOWN_SECONDS": 3,
}
FULL = os.environ.get("JOBCONTROL_FAULTS") == "full"
QUEUED = 200 if FULL else 40
UNFINISHED = "('CREATED', 'WAITING', 'QUEUED', 'RUNNING')"

MODULE = """
import logging, os, time

def append(path):
    from jobcontrol.globals import current_build
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b"%d\\n" % current_build.id)
    os.close(handle)

def note(path):
    append(path)

def work(path, seconds, mark, done):
    append(path)
    with open(mark, "a") as file:
        file.write(f"{os.getpid()}\\n")
    for number in range(int(seconds * 10)):
        logging.getLogger("work").info("line %d", number)
        time.sleep(0.1)
    append(done)
"""

REQUEST = """
    from builds import services
    from jobs.models import Job

    for name, count in (("long", {long}), ("short", {short})):
        job = Job.objects.get(pk=name)
        for _ in range(count):
            services.request_build(job=job, trigger="python")
"""


@dataclass
class Faulty:
    """A site whose processes and servers are about to fail."""

    kind: str  # "sqlite", "postgres" or "redis": PostgreSQL with Redis
    site: Site
    postgres: servers.Postgres | None = None
    redis: servers.Redis | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def prepare(self, *, long: float = 4.0) -> None:
        """Give the site a short job and a long one; both write the number of their build."""
        folder = self.site.folder
        self.site.write_module("faulty", MODULE)
        self.site.write_config(
            f"""
            jobs:
              - id: short
                function: faulty:note
                args: ["{folder}/ran"]
              - id: long
                priority: 1
                function: faulty:work
                args: ["{folder}/ran", {long}, "{folder}/marks", "{folder}/done"]
            """
        )

    def request(self, *, short: int = QUEUED, long: int = 0) -> None:
        """Ask for so many builds."""
        self.site.python(REQUEST.format(short=short, long=long))

    def builds(self) -> list[tuple[int, str, str, str]]:
        """Return number, job, status and kind of failure of every build."""
        text = "SELECT id, job_id, status, failure_kind FROM builds_build ORDER BY id"
        return self.site.sql(text)  # type: ignore[return-value]

    def numbers(self, name: str) -> list[int]:
        """Return the numbers that were written to a file, in order."""
        path: Path = self.site.folder / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def busy(self, begun: int = 1) -> psutil.Process:
        """Wait until so many long builds have begun, and return the process of the last one."""
        pids = wait_for(lambda: len(found := self.numbers("marks")) >= begun and found)
        return psutil.Process(pids[begun - 1])

    def check_promises(self, *, lost: int = 0, may_be_lost: int = 0, queued: int = QUEUED) -> None:
        """Wait until nothing is unfinished, then look for doubled, missing and wrong ones.

        `lost` builds, which ran on what was killed, have failed; so may `may_be_lost` others.
        """
        begin = time.monotonic()
        unfinished = f"SELECT count(*) FROM builds_build WHERE status IN {UNFINISHED}"
        wait_for(lambda: self.site.sql(unfinished) == [(0,)], LEASE_SECONDS + 30)
        self.facts["all ended"] = f"{time.monotonic() - begin:.1f}s"
        every, ran = self.builds(), self.numbers("ran")
        failed = [row for row in every if row[2] != "SUCCESSFUL"]
        missing = {row[0] for row in every} - set(ran)
        self.facts |= {"builds": len(every), "doubled": len(ran) - len(set(ran))}
        self.facts |= {"missing": len(missing), "failed": len(failed)}
        assert len(every) >= queued
        assert len(ran) == len(set(ran)), "a build ran twice"
        assert lost <= len(failed) <= lost + may_be_lost, failed
        assert all(row[3] in ("worker_lost", "shutdown") for row in failed), failed
        assert missing <= {row[0] for row in failed}, "a build never ran"

    def check_still_works(self) -> None:
        """See a new build start within half a minute."""
        before = len(self.numbers("ran"))
        self.request(short=1)
        begin = time.monotonic()
        wait_for(lambda: len(self.numbers("ran")) > before, 30)
        self.facts["new build"] = f"{time.monotonic() - begin:.1f}s"


class Family:
    """The processes of one cluster, by what they are for."""

    def __init__(self, cluster: Cluster) -> None:
        self.main = psutil.Process(cluster.pid)
        (self.sentinel,) = wait_for(self.main.children)
        # In the order in which the sentinel starts them.
        children = wait_for(
            lambda: len(found := self.sentinel.children()) >= SETTINGS["WORKERS"] + 2 and found
        )
        children.sort(key=lambda process: (process.create_time(), process.pid))
        self.workers, (self.monitor, self.pusher) = children[:-2], children[-2:]

    def all(self) -> list[psutil.Process]:
        """Return every process of the cluster."""
        return [self.main, self.sentinel, self.monitor, self.pusher, *self.workers]


def kill(*processes: psutil.Process) -> None:
    """SIGKILL each of them."""
    for process in processes:
        process.send_signal(signal.SIGKILL)


@contextmanager
def cluster_of(faulty: Faulty) -> Iterator[tuple[Cluster, Family]]:
    """Run a cluster with short times."""
    with faulty.site.cluster(**SETTINGS) as cluster:
        yield cluster, Family(cluster)


@contextmanager
def faulty_site(
    kind: str, folder: Path, *, template: str = "", own_postgres: bool = False
) -> Iterator[Faulty]:
    """Make a site of that kind, migrated; its servers may be stopped by the test.

    Its database is a copy of the `template`, if that is of the same kind.
    """
    folder.mkdir()
    template = "" if own_postgres or ("://" in template) == (kind == "sqlite") else template
    with ExitStack() as stack:
        faulty = Faulty(kind, Site(folder, sqlite_url(folder / "jobcontrol.sqlite3")))
        if kind != "sqlite":
            if own_postgres:
                faulty.postgres = stack.enter_context(servers.postgres())
                url = faulty.postgres.url
            else:
                # The suite's own server, or one for this run of the whole matrix.
                bootstrap.postgres_url(bootstrap.FOLDER)
                url = stack.enter_context(new_database(template=template or None))
            faulty.site = Site(folder, url)
        if kind == "redis":
            faulty.redis = stack.enter_context(servers.redis())
            faulty.site.env["REDIS_URL"] = faulty.redis.url
        stack.enter_context(faulty.site)
        if not template:
            faulty.site.migrate()
        elif kind == "sqlite":
            shutil.copy(template, folder / "jobcontrol.sqlite3")
        yield faulty
