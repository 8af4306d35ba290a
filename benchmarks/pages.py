"""Every page of a large site: the milliseconds of the server and the queries of each.

    python benchmarks/pages.py [--database URL [--keep]] [--scale 0.1] [--only TEXT] [--scans]

1,000 jobs, 1,000,000 builds, 10,000,000 log rows and 500 builds that run, on PostgreSQL: filled in
some minutes, used again with `--keep`. The addresses are those of
tests/integration/security/pages.py, asked for as an administrator; a page that stays true by itself
is also asked whether anything is new, and for all that changes. Of a file that is streamed the
first part counts.

Prints the milliseconds that processors worked on the page (the web process and its connection to
the database, where that is on this machine; the middle of seven tries), those that passed, and
those of all but a twentieth. Ends with 1 if a page took more than 100 ms of work, or more than 15
queries: work, because what passes beside it is what other programs do to this machine.
`--only` takes the addresses in which TEXT stands; `--scans` names the large tables that a query
may read as a whole; `--sql` prints the slow queries.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from large_site import execute, large_site, options

LIMIT = 0.1  # seconds
QUERIES = 15
TIMES = 7
LARGE = 50_000  # rows of a table that is never to be read as a whole
SHOWN = 78  # characters of an address
SQL_SHOWN = 1_500


@dataclass(frozen=True)
class Measured:
    """What came of a page."""

    name: str
    status: int
    seconds: list[float]
    work: float  # seconds of processors
    queries: list[dict[str, str]]

    @property
    def is_fine(self) -> bool:
        """Whether it keeps to the bounds."""
        return self.work <= LIMIT and len(self.queries) <= QUERIES


def main() -> int:
    """Fill the site, ask for its pages, and return the exit code."""
    parser = ArgumentParser(description="Measure every page of a large site.")
    parser.add_argument("--only", default="", metavar="TEXT", help="addresses with this text")
    parser.add_argument("--times", type=int, default=TIMES, help="how often each is asked for")
    parser.add_argument("--scans", action="store_true", help="name tables read as a whole")
    parser.add_argument("--sql", action="store_true", help="print slow queries")
    asked = options(parser)
    with large_site(asked):
        # Refusals are among the answers.
        logging.getLogger("django.request").setLevel(logging.ERROR)
        print(f"{'page':{SHOWN}}{'work':>6}{'passed':>8}{'p95':>6}{'queries':>9}  slowest query")
        tables = _large_tables() if asked.scans else set()
        found = []
        for one in _measured(asked.only, asked.times):
            found.append(one)
            print(_row(one), flush=True)
            for line in _notes(one, tables, with_sql=asked.sql):
                print(f"    {line}", flush=True)
    return _verdict(found)


def _verdict(found: list[Measured]) -> int:
    broken = [one for one in found if not one.is_fine]
    slowest = max(found, key=lambda one: one.work)
    most = max(len(one.queries) for one in found)
    print(f"{len(found)} pages; the slowest: {1000 * slowest.work:.0f} ms, {slowest.name}")
    print(f"the most queries of one: {most}")
    for one in broken:
        print(f"breaks the bounds: {_row(one)}")
    return 1 if broken else 0


def _measured(only: str, times: int) -> Iterator[Measured]:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.integration.security.pages import ADDRESSES, ANSWERS, questions, samples

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.get(username="admin"))
    values = samples()
    for text in ADDRESSES:
        address = text.format(**values)
        if only not in address:
            continue
        answer = browser.get(address)
        if answer.status_code not in ANSWERS:
            sys.exit(f"{address} gave {answer.status_code}")
        if answer.status_code >= 400:
            continue  # no page for GET
        yield _measure(address, times, lambda address=address: browser.get(address))
        shown = getattr(answer, "context_data", None) or {}
        if "live" in shown:
            yield from _refreshes(browser, address, times)
    for one in questions():
        if only in one.address:
            name = f"POST {one.address}: {one.name}"
            yield _measure(name, times, lambda one=one: browser.post(one.address, one.data))


def _refreshes(browser: Any, address: str, times: int) -> Iterator[Measured]:
    """Measure a look at an open page, with and without news."""
    join = "&" if "?" in address else "?"
    if "X-Live-Stamp" not in browser.get(f"{address}{join}live=old").headers:
        return  # the log, which brings its new lines by itself
    yield _measure(f"{address}{join}live=old", times, lambda: browser.get(f"{address}{join}live=x"))

    def unchanged() -> Any:
        return browser.get(f"{address}{join}live={known[0]}")

    def with_its_stamp() -> Any:
        answer = unchanged()
        known[0] = answer.headers["X-Live-Stamp"]
        return answer

    known = [""]
    with_its_stamp()
    yield _measure(f"{address}{join}live=STAMP", times, with_its_stamp)


def _measure(name: str, times: int, ask: Callable[[], Any]) -> Measured:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from builds import context_processors

    seconds, work = [], []
    server = _server_clock()
    for _ in range(times):
        begin, worked = time.perf_counter(), time.process_time() + server()
        _first_part(ask())
        seconds.append(time.perf_counter() - begin)
        work.append(time.process_time() + server() - worked)
    context_processors.is_any_alive()  # what a process looks up every few seconds only
    with CaptureQueriesContext(connection) as queries:
        answer = ask()
        _first_part(answer)
    return Measured(name, answer.status_code, seconds, statistics.median(work), list(queries))


def _server_clock() -> Callable[[], float]:
    """Return what tells the seconds that our connection's process in PostgreSQL has worked.

    Nothing, where that runs on another machine, or a system that does not say.
    """
    number = execute("SELECT pg_backend_pid()")[0][0]
    clock = Path(f"/proc/{number}/schedstat")
    is_here = clock.exists() and "postgres" in Path(f"/proc/{number}/comm").read_text("ascii")
    return (lambda: int(clock.read_text("ascii").split()[0]) / 1e9) if is_here else (lambda: 0.0)


def _first_part(answer: Any) -> None:
    if getattr(answer, "streaming", False):
        next(iter(answer.streaming_content), b"")
        answer.close()


# --- What is printed ------------------------------------------------------------------------------


def _row(one: Measured) -> str:
    last = sorted(one.seconds)[max(round(0.95 * len(one.seconds)) - 1, 0)]
    slow = max(one.queries, key=lambda query: float(query["time"]), default=None)
    note = f"{1000 * float(slow['time']):.0f} ms {_table(slow['sql'])}" if slow else ""
    name = one.name if len(one.name) <= SHOWN - 2 else f"{one.name[: SHOWN - 3]}…"
    mark = "" if one.is_fine else "  <<<"
    middle = statistics.median(one.seconds)
    numbers = f"{1000 * one.work:6.0f}{1000 * middle:8.0f}{1000 * last:6.0f}{len(one.queries):9}"
    return f"{name:{SHOWN}}{numbers}  {note}{mark}"


def _table(text: str) -> str:
    _, _, rest = text.partition(" FROM ")
    return rest.split(" ", 1)[0].strip('"()') or text[:30]


def _notes(one: Measured, tables: set[str], *, with_sql: bool) -> Iterator[str]:
    for query in one.queries:
        if with_sql and float(query["time"]) > 0.01:
            yield f"{query['time']} s {query['sql'][:SQL_SHOWN]}"
        read = _read_whole(query["sql"]) & tables
        if read:
            yield f"reads {', '.join(sorted(read))} as a whole: {query['sql'][:400]}"


def _read_whole(text: str) -> set[str]:
    if not text.startswith("SELECT"):
        return set()
    plan = execute(f"EXPLAIN (FORMAT JSON) {text}")[0][0]
    return set(_scanned(plan[0]["Plan"]))


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for part in node.get("Plans", ()):
        yield from _scanned(part)


def _large_tables() -> set[str]:
    return {name for (name,) in execute(f"SELECT relname FROM pg_class WHERE reltuples > {LARGE}")}


if __name__ == "__main__":
    sys.exit(main())
