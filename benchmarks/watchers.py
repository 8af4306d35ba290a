"""Twenty open pages that watch one build: what they cost the server and the database.

    python benchmarks/watchers.py [PAGES] [SECONDS]

A cluster runs one build that logs 20 lines a second and reports the progress of 50 parts ten times
a second. Its page is asked for as live.js and log.js do: the parts that changed, by stamp and as
often as the server says, and the new lines of the log every second, each page with a login of
its own. Prints for no page and for all of them the requests, and the seconds that processors worked
in the web server and in PostgreSQL, each per minute. It measures no times that pass.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psutil
from common import site

from tests.support.site import Site
from tests.support.web import web

LINES = 1.0  # seconds between two looks at the log, as log.js does while lines come
CONFIG = """
jobs: [{id: watched, function: "slowly:run"}]
"""
JOB = """
    import logging
    import time

    from jobcontrol.globals import current_app

    def run():
        for number in range(100_000):
            if number % 5 == 0:
                for line in range(10):
                    logging.getLogger("importer").info("Reading page %d.%d", number, line)
            part = ("Read", f"part {number % 50}")
            current_app.report_progress(part, number // 50 % 100, 100, f"step {number}")
            time.sleep(0.1)
"""
START = """
    from builds import services
    from jobs.models import Job

    print(services.request_build(job=Job.objects.get(pk="watched"), trigger="python").pk)
"""
LOGINS = """
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    for number in range({pages}):
        user = User.objects.create_superuser(f"watcher-{{number}}")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        print(session.session_key)
"""


@dataclass
class Watcher(threading.Thread):
    """One open page."""

    port: int
    login: str
    number: int
    stop: threading.Event
    asked: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)

    def __hash__(self) -> int:
        return id(self)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        """Ask again and again, until told to stop."""
        page = f"/admin/builds/build/{self.number}"
        stamp, last = "", "0"
        every, next_look, next_lines = 2.0, 0.0, 0.0
        while not self.stop.wait(0.05):
            now = time.monotonic()
            if now >= next_look:
                headers = self._ask(f"{page}/change/?live={stamp}")
                stamp = headers.get("X-Live-Stamp", stamp)
                every = float(headers.get("X-Live-Every", every))
                next_look = now + every
            if now >= next_lines:
                headers = self._ask(f"{page}/log/news/?after={last}")
                last = headers.get("X-Log-After", last)
                next_lines = now + LINES

    def _ask(self, address: str) -> dict[str, str]:
        server = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            server.request("GET", address, headers={"Cookie": f"sessionid={self.login}"})
            answer = server.getresponse()
            answer.read()
        finally:
            server.close()
        self.asked += 1
        self.unchanged += answer.status == 204
        if answer.status not in (200, 204):
            self.problems.append(f"{address} gave {answer.status}")
        return dict(answer.getheaders())


@dataclass(frozen=True)
class Load:
    """What was done in a while, each per minute."""

    web: float  # seconds of processors
    database: float
    statements: float
    asked: float


def main() -> int:
    """Run it and return the exit code."""
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with ExitStack() as stack:
        made = stack.enter_context(site())
        made.write_config(CONFIG)
        made.write_module("slowly", JOB)
        made.manage("sync_jobs", check=True)
        logins = made.python(LOGINS.format(pages=pages)).split()
        stack.enter_context(made.cluster(WORKERS=1))
        number = int(made.python(START))
        port = int(stack.enter_context(web(made)).rpartition(":")[2])
        server = web_server()
        measure(made, server, [], 5)  # it has started
        alone = measure(made, server, [], seconds)
        stop = threading.Event()
        watchers = [Watcher(port, login, number, stop) for login in logins]
        for one in watchers:
            one.start()
        time.sleep(5)  # the first look of each is a whole page
        watched = measure(made, server, watchers, seconds)
        stop.set()
        for one in watchers:
            one.join()
    return report(pages, alone, watched, watchers)


def measure(made: Site, server: psutil.Process, watchers: list[Watcher], seconds: float) -> Load:
    """Wait and return the load meanwhile."""
    before = (work(server), work(postmaster(made)), statements(made), asked(watchers))
    begin = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begin
    after = (work(server), work(postmaster(made)), statements(made), asked(watchers))
    return Load(*(60 * (b - a) / passed for a, b in zip(before, after, strict=True)))


def report(pages: int, alone: Load, watched: Load, watchers: list[Watcher]) -> int:
    """Print the table and return the exit code."""
    print(f"{'per minute':24}{'no page':>10}{f'{pages} pages':>10}{'added':>10}")
    for name, form in (
        ("asked", ".0f"),
        ("web", ".2f"),
        ("database", ".2f"),
        ("statements", ".0f"),
    ):
        first, second = getattr(alone, name), getattr(watched, name)
        label = f"{name}, seconds" if form == ".2f" else name
        print(f"{label:24}{first:>10{form}}{second:>10{form}}{second - first:>10{form}}")
    each = (watched.statements - alone.statements) / max(watched.asked, 1)
    print(f"requests a second: {watched.asked / 60:.1f}; statements of each: {each:.1f}")
    unchanged, every = sum(one.unchanged for one in watchers), sum(one.asked for one in watchers)
    print(f"of {every} answers {unchanged} said that nothing was new")
    problems = [text for one in watchers for text in one.problems]
    for text in problems[:5]:
        print(text)
    return 1 if problems or not watched.asked else 0


def work(process: psutil.Process) -> float:
    """Return the seconds that a process and its children, past ones too, have worked."""
    times = [process.cpu_times()]
    total = times[0].children_user + times[0].children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended just now, and is among the past ones
            times.append(child.cpu_times())
    return float(total + sum(one.user + one.system for one in times))


def web_server() -> psutil.Process:
    """Return the process that serves the pages, a child of this one."""
    found = [one for one in psutil.Process().children() if "jobcontrol_site.cli" in one.cmdline()]
    return found[-1]


def postmaster(made: Site) -> psutil.Process:
    """Return the main process of the database server."""
    path = made.sql("SHOW data_directory")[0][0]
    with open(f"{path}/postmaster.pid", encoding="ascii") as file:
        return psutil.Process(int(file.readline()))


def statements(made: Site) -> int:
    """Return how many statements the database has answered, each being its own transaction."""
    ((count,),) = made.sql(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    return int(count)


def asked(watchers: list[Watcher]) -> int:
    """Return how often the pages have asked."""
    return sum(one.asked for one in watchers)


if __name__ == "__main__":
    sys.exit(main())
