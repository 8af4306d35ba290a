"""What draining, idle latency and pages take when 1,000 to 1,000,000 builds are stored.

    python benchmarks/growth.py [--quick] [--rounds 3] [--most 1000000] [--plot FILE.svg]

On PostgreSQL. Every size is compared with the smallest one. `--plot` draws that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from latency import latencies, percentile
from measuring import Asked, Row, asked_for, head, line, parser
from places import Place, places
from plot import Line, drawing
from systems import CONFIG, Ours, drain, inside

from tests.support.databases import psycopg_url

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (100, 1_000)
BUILDS = 500
QUICK_BUILDS = 20
REQUESTS = 40
QUICK_REQUESTS = 4
TIMES = 7
QUICK_TIMES = 1
PAGE_BUDGET = 1.25
JOBS = 100
PAGES = {
    "/admin/": "overview",
    "/admin/jobs/job/": "list of jobs",
    "/admin/builds/build/": "list of builds",
    "/admin/builds/build/?status=FAILED": "builds that failed",
    "/admin/jobs/job/job-7/change/": "a job",
    "/admin/builds/build/50/change/": "a build",
    "/api/build/": "builds over the API",
}
MORE_JOBS = """{% for n in range(JOBS) %}
  - {id: job-{{ n }}, function: "bench_jobs:noop", tags: [tag-{{ n % 20 }}]}
{% endfor %}
"""

# Builds of the past, from `first` to `last`: each with its configuration and ten lines of log.
FILL = (
    """
    INSERT INTO builds_build (id, job_id, status, trigger, armed, created, start_time, end_time,
        priority, worker, failure_kind, exception_type, exception_message, config_revision_id,
        deleting, attempt, in_place, keep, plan_reason, queue)
    SELECT n, 'job-' || n % {jobs}, CASE WHEN n % 11 = 0 THEN 'FAILED' ELSE 'SUCCESSFUL' END,
        'schedule', false, asked, asked + interval '1 s', asked + interval '20 s', 0, 'host:0:1:1',
        CASE WHEN n % 11 = 0 THEN 'exception' ELSE '' END,
        CASE WHEN n % 11 = 0 THEN 'ValueError' ELSE '' END,
        CASE WHEN n % 11 = 0 THEN 'row ' || n ELSE '' END,
        (SELECT max(id) FROM jobs_configrevision), false, 1, false, false, '', 'default'
    FROM (SELECT n, now() - ({last} - n + 100) * interval '30 s' AS asked
        FROM generate_series({first}::bigint, {last}) n) made
    """,
    """
    INSERT INTO builds_buildpayload (build_id, config, config_text, retval_text, retval_json)
    SELECT n, job.config, job.config_text, 'None', 'null'
    FROM generate_series({first}::bigint, {last}) n
    JOIN jobs_job job ON job.id = 'job-' || n % {jobs}
    """,
    """
    INSERT INTO builds_logmessage (build_id, created, level, logger, message, place, origin)
    SELECT {first} + n / 10, now() - interval '1 day', 20, 'importer.pages',
        'Reading page ' || n || ' of the catalogue', 'pages.py:120 read_page', '4711 MainThread'
    FROM generate_series(0::bigint, ({last} - {first} + 1) * 10 - 1) n
    """,
    "SELECT setval(pg_get_serial_sequence('builds_build', 'id'), {last})",
    "VACUUM (ANALYZE)",  # as autovacuum leaves the tables after a while
)


@dataclass
class Found:
    """What was measured at one size, a number for each round."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    pages: dict[str, list[float]] = field(default_factory=dict)


def rows(asked: Asked, most: int = SIZES[-1]) -> Iterator[Row]:
    """Measure it, each size against the smallest."""
    wanted = Asked(asked.quick, asked.rounds, ("postgres",), asked.redis)
    sizes = [size for size in (QUICK_SIZES if asked.quick else SIZES) if size <= most]
    with places(wanted) as (place,):
        found = _measured(asked, place, sizes)
    yield from _rows(asked, found)


def _measured(asked: Asked, place: Place, sizes: list[int]) -> dict[int, Found]:
    """Fill the database to each size in turn and measure there."""
    system = Ours(place)
    system.site.write_config(CONFIG + MORE_JOBS.replace("JOBS", str(JOBS)))
    system.site.manage("sync_jobs", check=True)
    found = {}
    for size in sizes:
        _fill(system, size)
        found[size] = one = Found()
        for _ in range(asked.rounds):
            one.rates.append(drain(system, asked.size(BUILDS, QUICK_BUILDS)))
            seen = latencies(system, asked.size(REQUESTS, QUICK_REQUESTS))
            one.p50.append(percentile(seen, 0.5))
            one.p95.append(percentile(seen, 0.95))
            times = asked.size(TIMES, QUICK_TIMES)
            for address, passed in inside(system.site, "pages", times, *PAGES).items():
                one.pages.setdefault(address, []).append(passed)
    return found


def _fill(system: Ours, size: int) -> None:
    with psycopg.connect(psycopg_url(system.site.database_url), autocommit=True) as database:
        row = database.execute("SELECT coalesce(max(id), 0) FROM builds_build").fetchone()
        first = (row[0] if row else 0) + 1
        for statement in FILL if first <= size else ():
            text = statement.format(first=first, last=size, jobs=JOBS)
            database.execute(text)


def _rows(asked: Asked, found: dict[int, Found]) -> Iterator[Row]:
    base, *_ = found.values()
    for size, one in list(found.items())[1:]:
        on = f"{size:,} builds"
        peer = f"itself at {next(iter(found)):,}"
        count = asked.size(BUILDS, QUICK_BUILDS)
        yield Row(
            f"drain of {count} no-op builds", on, peer, "builds/s", one.rates, base.rates,
            more_is_better=True,
        )  # fmt: skip
        yield Row("idle latency, p50", on, peer, "ms", one.p50, base.p50)
        yield Row("idle latency, p95", on, peer, "ms", one.p95, base.p95)
        for address, name in PAGES.items():
            ours, theirs = one.pages[address], base.pages[address]
            yield Row(f"page: {name}", on, peer, "ms", ours, theirs, budget=PAGE_BUDGET)


def plotted(rows: list[Row]) -> str:
    """Return the picture of these rows: how many times as long as at the smallest size."""
    lines: dict[str, Line] = {}
    for row in rows:
        size = int(row.on.split()[0].replace(",", ""))
        if row.ratio:
            points = lines.setdefault(row.what, Line(row.what, [])).points
            points.append((size, 1 / row.ratio if row.more_is_better else row.ratio))
    first = min((int(row.peer_name.rsplit(" ", 1)[1].replace(",", "")) for row in rows), default=1)
    for one in lines.values():
        one.points.insert(0, (first, 1.0))
    return drawing(
        list(lines.values()),
        title=f"Time by stored builds, times that at {first:,} (PostgreSQL)",
    )


def main() -> int:
    """Measure, print, and draw if that was asked for."""
    options = parser(__doc__ or "")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the growth as SVG")
    options.add_argument("--most", type=int, default=SIZES[-1], help="the largest size")
    given = options.parse_args()
    asked = asked_for(given)
    print(head(), flush=True)
    found = []
    for row in rows(asked, given.most):
        found.append(row)
        print(line(row), flush=True)
    if given.plot:
        given.plot.write_text(plotted(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
