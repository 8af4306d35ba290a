"""Faults done to the processes of a cluster, and what must hold after each of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.site import Cluster, Site

LEASE_SECONDS = 6
SETTINGS = {
    "WORKERS": 2,
    "HEARTBEAT_SECONDS": 1,
    "LEASE_SECONDS": LEASE_SECONDS,
    "GRACE_SECONDS": 2,
    "SHUTDOWN_SECONDS": 4,
}

MODULE = """
import os, time

def note(path, wait=0.0, mark=None):
    from jobcontrol.globals import current_build
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b"%d\\n" % current_build.id)
    os.close(handle)
    if mark:
        with open(mark, "a") as file:
            file.write(f"{os.getpid()}\\n")
    time.sleep(wait)
"""

REQUEST = """
    from builds import services
    from jobs.models import Job

    for name, count in (("long", {long}), ("short", {short})):
        job = Job.objects.get(pk=name)
        for _ in range(count):
            services.request_build(job=job, trigger="python")
"""


def prepare(site: Site) -> None:
    """Give the site a short job and a long one; both write the number of their build."""
    site.write_module("faulty", MODULE)
    site.write_config(
        f"""
        jobs:
          - id: short
            function: faulty:note
            args: ["{site.folder}/ran"]
          - id: long
            priority: 1
            function: faulty:note
            args: ["{site.folder}/ran", 8.0, "{site.folder}/marks"]
        """
    )
    site.manage("sync_jobs", check=True)


def request(site: Site, *, short: int, long: int = 0) -> None:
    """Ask for so many builds."""
    site.python(REQUEST.format(short=short, long=long))


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait until `condition()` is true and return it; generous, it only ends a hanging test."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return result


def busy_pids(site: Site) -> list[int]:
    """Return the processes in which long builds began."""
    path = site.folder / "marks"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


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


def rows(site: Site) -> list[dict[str, Any]]:
    """Return every build."""
    found: list[dict[str, Any]] = site.json("list_builds", "--limit", "10000")
    return found


def ran(site: Site) -> list[int]:
    """Return the numbers that builds wrote, in order."""
    path: Path = site.folder / "ran"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def check_promises(site: Site, *, lost: int) -> None:
    """Wait until nothing is unfinished, then look for doubled, missing and wrongly closed builds.

    At most `lost` builds, which ran on what was killed, may have failed, as worker_lost.
    """
    wait_for(lambda: all(row["finished"] for row in rows(site)), LEASE_SECONDS + 60)
    every, numbers = rows(site), ran(site)
    assert len(numbers) == len(set(numbers)), "a build ran twice"
    failed = [row for row in every if row["status"] != "SUCCESSFUL"]
    assert len(failed) <= lost, failed
    assert all(row["failure_kind"] in ("worker_lost", "shutdown") for row in failed), failed
    missing = {row["id"] for row in every} - set(numbers)
    assert missing <= {row["id"] for row in failed}, "a build never ran"


def check_still_works(site: Site) -> None:
    """See a new build through."""
    ended = site.json("build_job", "short", "--queue", "--wait")
    assert ended["status"] == "SUCCESSFUL"


@contextmanager
def cluster_of(site: Site) -> Iterator[tuple[Cluster, Family]]:
    """Run a cluster with short times."""
    with site.cluster(**SETTINGS) as cluster:
        yield cluster, Family(cluster)
