"""The pages of a log with very many lines: each is made in bounded time.

    python benchmarks/long_log.py [LINES]

Fills one build's log, after half as many lines of another and between as many; prints for each
page the milliseconds of the server (the middle one of five), its queries and those of them that are
slow. Ends with 1 if a page took more than 100 ms. On PostgreSQL, or with JOBCONTROL_TEST_DB=sqlite
there.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from datetime import timedelta

from common import site

LIMIT = 0.1  # seconds
TRIES = 5
BATCH = 10_000
CONFIG = """
jobs: [{id: long, function: "jobcontrol.utils.testing:job_simple_echo"}]
"""
LOG = "/admin/builds/build/1/log/"
PAGES = {
    "the start": LOG,
    "the end": f"{LOG}?tail=1",
    "the middle": f"{LOG}?from={{middle}}",
    "a time": f"{LOG}?at={{at}}",
    "a time, filtered": f"{LOG}?at={{at}}&level=ERROR&q=page",
    "errors": f"{LOG}?level=ERROR",
    "the last of what is critical": f"{LOG}?level=CRITICAL&tail=1",
    "INFO and up": f"{LOG}?level=INFO",
    "a word of each line": f"{LOG}?q=price",
    "a word of no line": f"{LOG}?q=nothing",
    "a word of no line, from the end": f"{LOG}?q=nothing&tail=1",
    "a word of no warning": f"{LOG}?q=nothing&level=WARNING",
    "what is new": f"{LOG}news/?after={{last}}",
    "very much is new": f"{LOG}news/?after=1",
    "very much is new, filtered": f"{LOG}news/?after=1&q=nothing&counts=1",
    "the page of the build": "/admin/builds/build/1/change/",
}


def main() -> int:
    """Fill it, ask for the pages, and return the exit code."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with site() as made:
        made.write_config(CONFIG)
        made.manage("sync_jobs", check=True)
        os.environ.update(made.env)
        import django

        django.setup()
        from django.db import connections

        try:
            begin = time.monotonic()
            values = fill(lines)
            print(f"{lines:,} lines written in {time.monotonic() - begin:.0f} s", flush=True)
            slowest = max(measure(name, page.format(**values)) for name, page in PAGES.items())
        finally:
            connections.close_all()
    print(f"the slowest page took {1000 * slowest:.0f} ms")
    return 0 if slowest <= LIMIT else 1


def fill(lines: int) -> dict[str, object]:
    """Write the lines and return what the addresses of the pages need."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.utils import timezone

    from builds.models import Build, BuildPayload, LogMessage

    start = timezone.now() - timedelta(days=1)
    for number in (1, 2):
        Build.objects.create(id=number, job_id="long", status="RUNNING", start_time=start)
        BuildPayload.objects.create(build_id=number)
    User.objects.create_superuser("admin")
    for first in range(-lines // 2, lines, BATCH):
        rows = []
        for number in range(first, min(first + BATCH, lines)):
            created = start + timedelta(milliseconds=50 * number)
            text = f"Reading page {number} of the catalogue: {number * 7919 % 1000} prices"
            builds = (2,) if number < 0 else (1, 2) if number % 2 else (1,)
            rows += [
                LogMessage(
                    build_id=build,
                    created=created,
                    level=level_of(number),
                    logger="importer.pages",
                    message=text,
                    place="pages.py:120 read_page",
                    origin="4711 MainThread",
                )
                for build in builds
            ]
        LogMessage.objects.bulk_create(rows, batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    numbers = LogMessage.objects.filter(build=1).order_by("pk").values_list("pk", flat=True)
    middle = start + timedelta(milliseconds=25 * lines)
    return {
        "middle": numbers[lines // 2],
        "last": numbers.last(),
        "at": middle.isoformat().replace("+", "%2B"),
    }


def level_of(number: int) -> int:
    """Return a level: the graver, the rarer."""
    steps = {90_001: 50, 10_007: 40, 1_009: 30, 5: 10}
    return next((level for step, level in steps.items() if number % step == 0), 20)


def measure(name: str, address: str) -> float:
    """Print a row of the table and return the seconds."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.get(username="admin"))
    seconds = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        answer = browser.get(address)
        seconds.append(time.perf_counter() - begin)
        assert answer.status_code in (200, 204), f"{address} gave {answer.status_code}"
    with CaptureQueriesContext(connection) as queries:
        browser.get(address)
    middle = statistics.median(seconds)
    slow = [f"{1000 * float(one['time']):.0f}" for one in queries if float(one["time"]) > 0.01]
    note = f"  slow queries: {', '.join(slow)} ms" if slow else ""
    print(f"{name:34}{1000 * middle:7.0f} ms {len(queries):4} queries{note}", flush=True)
    return middle


if __name__ == "__main__":
    sys.exit(main())
