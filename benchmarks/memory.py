"""Memory of web, worker and supervisor over 10,000 builds.

    python benchmarks/memory.py [--quick] [--rounds 3] [--on postgres]

MiB that a process has of its own. Against django-q2's main process and workers after as many tasks;
and against what they had themselves after a fifth of the builds, because none may grow. The web
server answers for the overview, the list of builds and a job all the while.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import common
import psutil
from measuring import Asked, Row, alone
from places import Place, places
from systems import Ours, Raw, System, inside

BUILDS = 10_000
QUICK_BUILDS = 60
LOOK_SECONDS = 1.0
QUICK_LOOK_SECONDS = 0.1
EARLY = 0.2
GROWTH = 1.1
MAX_SECONDS = 1_200.0
ADDRESSES = ("/admin/", "/admin/builds/build/", "/admin/jobs/job/noop/change/")
NAMES = {"supervisor": "supervisor", "worker": "worker", "web": "web process"}


@dataclass
class Seen:
    """MiB by the kind of process: early on, and at the end."""

    early: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it on PostgreSQL, or on SQLite when that alone was asked for."""
    with places(asked) as found:
        chosen = [place for place in found if place.kind == "postgres"] or found[:1]
        for place in chosen:
            yield from _rows(asked, place)


def _rows(asked: Asked, place: Place) -> Iterator[Row]:
    count = asked.size(BUILDS, QUICK_BUILDS)
    ours, raw = [], []
    systems = Ours(place), Raw(place)
    for _ in range(asked.rounds):
        ours.append(_over(systems[0], count, asked))
        raw.append(_over(systems[1], count, asked))
    for kind, name in NAMES.items():
        if kind != "web":
            yield Row(
                what=f"memory after {count:,} builds: {name}",
                on=place.name,
                peer_name="django-q2's",
                unit="MiB",
                ours=[one.last[kind] for one in ours],
                peer=[one.last[kind] for one in raw],
            )
        yield Row(
            what=f"memory after {count:,} builds: {name}",
            on=place.name,
            peer_name="itself after a fifth",
            unit="MiB",
            ours=[one.last[kind] for one in ours],
            peer=[one.early[kind] for one in ours],
            budget=GROWTH,
        )


def _over(system: System, count: int, asked: Asked) -> Seen:
    """Let the system work off so many, and look at its processes meanwhile."""
    seen = Seen()
    is_ours = isinstance(system, Ours)
    with system.counter() as stored:
        system.ask("queue", count)
        with _web(system, on=is_ours) as web, system.working() as main:
            begin, done = time.monotonic(), 0
            while done < count:
                time.sleep(QUICK_LOOK_SECONDS if asked.quick else LOOK_SECONDS)
                web.visit()
                done = stored()
                now = _memory(main.pid, web.pid)
                # The first look has to come before all is done, however few there are.
                if "worker" in now and ("worker" not in seen.early or done <= EARLY * count):
                    seen.early = now
                if time.monotonic() - begin > MAX_SECONDS:
                    sys.exit(f"{system.name} stored {done} of {count} in {MAX_SECONDS:.0f} s")
            seen.last = _memory(main.pid, web.pid)
    seen.early = seen.early or seen.last
    return seen


def _memory(main: int, web: int | None) -> dict[str, float]:
    """Return the MiB of the main process, of a worker in the middle, and of the web process.

    Workers are the oldest children of the sentinel, which is the main process's only child.
    """
    found: dict[str, float] = {}
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(main)
        found["supervisor"] = common.memory(process)
        children = [one for sentinel in process.children() for one in sentinel.children()]
        children.sort(key=lambda one: one.create_time())
        used = [common.memory(one) for one in children[:2]]
        if used and all(used):
            found["worker"] = sum(used) / len(used)
    if web is not None:
        with suppress(psutil.NoSuchProcess):
            found["web"] = sum(common.memory(one) for one in psutil.Process(web).children())
    return found


# --- The web server -------------------------------------------------------------------------------


@dataclass
class Web:
    """A web server to visit; nothing where there is none."""

    pid: int | None = None
    visit: Callable[[], None] = lambda: None


@contextmanager
def _web(system: System, *, on: bool) -> Iterator[Web]:
    """Serve the site as in production, with one process."""
    if not on:
        yield Web()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cookie = f"sessionid={inside(system.site, 'session')}"
    with (system.site.folder / "web.log").open("ab") as log:
        server = system.site.start(
            *("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"),
            *("--threads", "8", "jobcontrol_site.wsgi"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(port)
        yield Web(server.pid, lambda: _visit(port, cookie))
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def _visit(port: int, cookie: str) -> None:
    for address in ADDRESSES:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", address, headers={"Cookie": cookie, "Host": "localhost"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            sys.exit(f"{address} gave {answer.status}")


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
