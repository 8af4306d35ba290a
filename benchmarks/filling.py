"""Fills a PostgreSQL with a site of many years: used by pages.py and watchers.py.

Everything is made by the database itself, from numbers: a build's job, state, length and log lines
follow from its number, so that two fills are alike. It needs a superuser of the database, because
references are not checked while it is filled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

JOBS = 1_000  # as in CONFIG
BUILDS = 1_000_000
LINES = 10_000_000
RUNNING = 500
UNFINISHED = 2_000  # of the newest builds, those that are not finished are among so many
LONG_LOGS = 5  # builds that have half of all lines
PLANS = 5_000
LARGE_PLAN = 1_000  # builds
RUNS = 200_000  # of schedules
DELETIONS = 20_000
HISTORY = 300_000  # rows of the admin's own history
CLUSTERS = 80
WORKERS = 8  # of each
LARGE_TREE = 5_000  # nodes of the progress of one build that runs

CONFIG = """
jobs:
{% for n in range(1000) %}
  - id: job-{{ n }}
    title: "The job number {{ n }}"
    function: "jobcontrol.utils.testing:job_simple_echo"
    args: [{{ n }}, "rows of {{ n % 17 }}"]
    kwargs: {limit: {{ 100 * n }}, source: "https://example.org/catalogue/{{ n }}"}
    tags: [tag-{{ n % 20 }}, {{ "nightly" if n % 2 else "hourly" }}]
    {% if n % 100 %}
    dependencies: [job-{{ n // 3 }}{% if n % 7 == 0 %}, job-{{ n // 2 }}{% endif %}]
    {% endif %}
    protect: {{ "true" if n % 30 == 12 else "false" }}
    {% if n % 2 %}
    schedule: ["every 1h", "0 3 * * *"]
    {% endif %}
    {% if n % 50 == 0 %}
    concurrency: 2
    {% endif %}
    notes: |
      Reads part {{ n }} of the catalogue, *then* writes it.
{% endfor %}
"""

# Each build's job: half of them belong to twenty jobs that run all the time.
JOB = "(CASE WHEN n % 2 = 0 THEN (n / 2) % 20 * 7 ELSE (n / 2) % {jobs} END)"

STEPS: dict[str, str] = {
    "plans": """
        INSERT INTO builds_plan (id, job_id, requested_by_id, created, wish, runner)
        SELECT n, 'job-' || (n * 7 % {jobs}), 1,
            now() - ({plans} - n) * interval '20 minutes', '{{}}', ''
        FROM generate_series(1::bigint, {plans}) n
    """,
    "builds": """
        INSERT INTO builds_build (id, job_id, status, trigger, armed, created, start_time, end_time,
            priority, worker, claim_token, heartbeat, failure_kind, exception_type,
            exception_message, config_revision_id, requested_by_id, deleting, attempt, in_place,
            keep, retry_of_id, plan_reason, queue, plan_id)
        SELECT n, 'job-' || job, status,
            CASE n % 4 WHEN 0 THEN 'schedule' WHEN 1 THEN 'manual' WHEN 2 THEN 'api'
                ELSE 'dependency' END,
            false, asked,
            CASE WHEN status IN ('QUEUED', 'WAITING') THEN NULL ELSE asked + interval '2 s' END,
            CASE WHEN status IN ('QUEUED', 'WAITING', 'RUNNING') THEN NULL
                ELSE asked + interval '2 s' + (20 + n * 7919 % 600) * interval '1 s' END,
            n % 5,
            CASE WHEN status IN ('QUEUED', 'WAITING') THEN ''
                ELSE 'host-' || n % {clusters} || ':0123456789ab:' || 401 + n % {workers}
                    || ':8' || 1 + n % {workers} END,
            CASE WHEN status = 'RUNNING' THEN gen_random_uuid() END,
            CASE WHEN status = 'RUNNING' THEN now() END,
            CASE WHEN status <> 'FAILED' THEN '' WHEN n % 9 = 0 THEN 'upstream_failed'
                ELSE 'exception' END,
            CASE WHEN status = 'FAILED' AND n % 9 <> 0
                THEN (ARRAY['ValueError', 'requests.ConnectionError', 'KeyError'])[1 + n % 3]
                ELSE '' END,
            CASE WHEN status = 'FAILED' THEN 'row ' || n % 1000 || ' of the catalogue: no price'
                WHEN status = 'SKIPPED' THEN 'nothing new since yesterday' ELSE '' END,
            1, CASE WHEN n % 4 = 1 THEN 1 + n % 50 END, false,
            CASE WHEN n % 97 = 5 THEN 2 ELSE 1 END, false, n % 500 = 0,
            CASE WHEN n % 97 = 5 THEN n - 2 * {jobs} END,
            CASE WHEN plan IS NULL THEN '' ELSE 'needed by the target' END, 'default', plan
        FROM (
            SELECT n, {job} AS job,
                now() - ({builds} - n) * interval '30 s' - interval '20 minutes' AS asked,
                CASE WHEN n > {builds} - {unfinished} AND n % 4 = 1 THEN 'RUNNING'
                    WHEN n > {builds} - {unfinished} AND n % 4 = 3 AND n % 8 = 3 THEN 'QUEUED'
                    WHEN n > {builds} - {unfinished} AND n % 8 = 7 THEN 'WAITING'
                    WHEN n * 7919 % 101 < 9 THEN 'FAILED'
                    WHEN n * 7919 % 101 < 13 THEN 'SKIPPED'
                    WHEN n * 7919 % 101 < 16 THEN 'CANCELLED' ELSE 'SUCCESSFUL' END AS status,
                CASE WHEN n > {builds} - {large_plan} THEN {plans}
                    WHEN n % 100 < 2 AND n / 100 % 2 = 0 THEN 1 + n / 200 % ({plans} - 1)
                    WHEN n % 4 = 3 AND n % 5 = 0 THEN 1 + n / 20 % ({plans} - 1)
                    END AS plan
            FROM generate_series(1::bigint, {builds}) n
        ) made
    """,
    "what builds used": """
        ANALYZE builds_build;
        INSERT INTO builds_builddependency (build_id, job_id, dep_build_id, dep_build_number)
        SELECT one.id, link.depends_on_id, used.id, used.id
        FROM builds_build one
        JOIN jobs_jobdependency link ON link.job_id = one.job_id
        CROSS JOIN LATERAL (
            SELECT id FROM builds_build other
            WHERE other.job_id = link.depends_on_id AND other.id < one.id AND other.status =
                CASE WHEN one.status = 'WAITING' THEN 'QUEUED' ELSE 'SUCCESSFUL' END
            ORDER BY other.id DESC LIMIT 1
        ) used
    """,
    "payloads": """
        INSERT INTO builds_buildpayload
            (build_id, config, config_text, retval_text, retval_json, traceback)
        SELECT one.id, job.config, job.config_text,
            CASE WHEN one.status = 'SUCCESSFUL' THEN '((' || one.id || ', ''rows''), {{}})'
                ELSE '' END,
            CASE WHEN one.status = 'SUCCESSFUL' THEN '[' || one.id || ', "rows"]' ELSE '' END,
            CASE WHEN one.status = 'FAILED' AND one.id > {builds} - 100000 THEN {traceback} END
        FROM builds_build one JOIN jobs_job job ON job.id = one.job_id
    """,
    "progress": """
        INSERT INTO builds_buildprogress (build_id, group_name, group_digest, current, total,
            status_line, position, updated, first_current, seconds, reports)
        SELECT number, name, encode(sha256(convert_to(name, 'UTF8')), 'hex'),
            CASE WHEN status = 'RUNNING' THEN node * 37 % 100 ELSE 100 END, 100,
            'part ' || node || ' of the catalogue', node, now(), 0, 60, 50
        FROM (
            SELECT one.id AS number, one.status, node, CASE WHEN node = 0 THEN '[]'
                ELSE '["group ' || node % 40 || '", "part ' || node || '"]' END AS name
            FROM builds_build one CROSS JOIN LATERAL generate_series(
                0, CASE WHEN one.id = {running} THEN {large_tree} - 1 ELSE 20 END) node
            WHERE one.status = 'RUNNING'
                OR (one.id > {builds} - 20000 AND one.status = 'SUCCESSFUL')
        ) nodes
    """,
    "log lines": """
        INSERT INTO builds_logmessage
            (build_id, created, level, logger, message, place, origin, exception)
        SELECT CASE WHEN n % 2 = 0 THEN ({longs})[1 + n / 2 % {long_logs}]
                ELSE {builds} - {lines} / 20 + 1 + n / 20 END,
            now() - ({lines} - n) * interval '10 ms',
            CASE WHEN n % 90001 = 0 THEN 50 WHEN n % 10007 = 0 THEN 40 WHEN n % 1009 = 0 THEN 30
                WHEN n % 5 = 0 THEN 10 ELSE 20 END,
            'importer.pages',
            'Reading page ' || n || ' of the catalogue: ' || n * 7919 % 1000 || ' prices',
            'pages.py:120 read_page', '4711 MainThread',
            CASE WHEN n % 90001 = 0 THEN {traceback} END
        FROM generate_series(1::bigint, {lines}) n
    """,
    "runs of schedules": """
        INSERT INTO builds_scheduledrun
            (job_id, entry, due, state, reason, build_id, build_number, decided)
        SELECT 'job-' || 1 + 2 * (n % ({jobs} / 2)), 'every 1h', due, state,
            CASE WHEN state = 'MISSED' THEN 'no cluster was alive' ELSE '' END,
            CASE WHEN state = 'STARTED' THEN 1 + n % {builds} END,
            CASE WHEN state = 'STARTED' THEN 1 + n % {builds} END, due
        FROM (
            SELECT n, now() - n * interval '20 s' AS due, CASE WHEN n % 40 = 0 THEN 'MISSED'
                WHEN n % 41 = 0 THEN 'SKIPPED' ELSE 'STARTED' END AS state
            FROM generate_series(1::bigint, {runs}) n
        ) made;
        INSERT INTO builds_scheduledrun (job_id, entry, due, state, reason)
        SELECT 'job-' || 1 + 2 * n, entry, now() + (1 + n) * interval '30 s', 'PLANNED', ''
        FROM generate_series(0, {jobs} / 2 - 1) n, unnest(ARRAY['every 1h', '0 3 * * *']) entry
    """,
    "deletions": """
        INSERT INTO builds_deletion (build_number, job_id, requested_by_id, created, ended, state,
            cleanup, outcome, cleanup_function, pruned, worker, log)
        SELECT {builds} + 1000000 + n, 'job-' || n % {jobs}, 1, now() - n * interval '5 minutes',
            now() - n * interval '5 minutes', 'DONE', true, 'no_cleanup', '', n % 2 = 0, '', ''
        FROM generate_series(1, {deletions}) n
    """,
    "people": """
        INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email,
            is_staff, is_active, date_joined)
        SELECT n, '', false, 'user-' || n, '', '', '', true, true, now()
        FROM generate_series(2, 300) n;
        SELECT setval(pg_get_serial_sequence('auth_user', 'id'), 300);
        INSERT INTO auth_group (name) SELECT 'group ' || n FROM generate_series(1, 50) n;
        INSERT INTO builds_apitoken (name, user_id, prefix, digest, expires)
        SELECT 'token ' || n, 1 + n % 300, 'abc' || n, md5(n::text), now() + interval '60 days'
        FROM generate_series(1, 500) n
    """,
    "what people did": """
        INSERT INTO django_admin_log (action_time, object_id, object_repr, action_flag,
            change_message, content_type_id, user_id)
        SELECT now() - ({history} - n) * interval '1 minute',
            CASE WHEN n % 15 = 1 THEN 'job-7' WHEN n % 3 > 0 THEN 'job-' || n / 3 % {jobs}
                ELSE (1 + n * 7 % {builds})::text END,
            '', 2, 'Asked for a build by build form.',
            (SELECT id FROM django_content_type WHERE app_label IN ('jobs', 'builds')
                AND model = CASE WHEN n % 3 > 0 THEN 'job' ELSE 'build' END),
            1 + n % 300
        FROM generate_series(1::bigint, {history}) n
    """,
    "nonces": """
        INSERT INTO builds_usednonce (nonce, build_number)
        SELECT 'page:' || md5(n::text) || md5((-n)::text), n FROM generate_series(1, 200000) n
    """,
    "revisions of the configuration": """
        INSERT INTO jobs_configrevision (hash, created, path, sources, changes)
        SELECT md5(n::text), now() - n * interval '1 day', path, sources,
            '{{"changed": ["job-' || n || '"]}}'
        FROM jobs_configrevision first, generate_series(1, 200) n
    """,
    "workers": """
        INSERT INTO builds_cluster (identity, host, pid, workers, last_seen, trouble, draining,
            processes, queue)
        SELECT 'host-' || n || ':0123456789ab:400:77', 'host-' || n, 400, {workers}, now(), '',
            false, processes, 'default'
        FROM generate_series(0, {clusters} - 1) n CROSS JOIN (
            SELECT json_agg(json_build_object('pid', 400 + w, 'started', '8' || w, 'seconds', 90,
                'memory', 52428800))::text AS processes FROM generate_series(1, {workers}) w
        ) made
    """,
}
TABLES_OF_NUMBERS = ("builds_plan", "builds_build")


def fill(execute: Callable[[str], Any], traceback: str, *, scale: float = 1.0) -> None:
    """Fill the tables of a new, migrated and synced site whose `admin` is its only user."""
    values = sizes(scale)
    quoted = "'" + traceback.replace("'", "''") + "'"
    execute("SET session_replication_role = replica")  # no check of each reference
    for name, text in STEPS.items():
        begin = time.monotonic()
        job = JOB.format(**values)
        with _without_indexes(execute, name):
            execute(text.format(**values, job=job, traceback=quoted))
        print(f"{name:32}{time.monotonic() - begin:6.0f} s", flush=True)
    for table in TABLES_OF_NUMBERS:
        execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
        )
    execute("SET session_replication_role = origin")
    begin = time.monotonic()
    # As autovacuum leaves them after a while: without it no index answers by itself.
    execute("VACUUM (ANALYZE)")
    print(f"{'vacuum':32}{time.monotonic() - begin:6.0f} s", flush=True)


def sizes(scale: float = 1.0) -> dict[str, Any]:
    """Return how many there are of everything."""
    builds = max(int(BUILDS * scale), 40_000)
    lines = max(int(LINES * scale), 100_000)
    longs = [builds - offset for offset in (3, 5_000, 5_003, 5_007, 5_011)]
    return {
        "jobs": JOBS,
        "builds": builds,
        "lines": lines,
        "unfinished": 4 * RUNNING,
        "longs": f"ARRAY{longs}",
        "long_logs": LONG_LOGS,
        "running": longs[0],
        "plans": PLANS,
        "large_plan": LARGE_PLAN,
        "runs": RUNS,
        "deletions": DELETIONS,
        "history": HISTORY,
        "clusters": CLUSTERS,
        "workers": WORKERS,
        "large_tree": LARGE_TREE,
    }


@contextmanager
def _without_indexes(execute: Callable[[str], Any], step: str) -> Iterator[None]:
    """Make the indexes of the largest table when it is full: that takes half the time."""
    if step != "log lines":
        yield
        return
    found = execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'builds_logmessage' "
        "AND indexname <> 'builds_logmessage_pkey'"
    )
    for name, _ in found:
        execute(f'DROP INDEX "{name}"')
    yield
    for _, text in found:
        execute(text)


def wake(execute: Callable[[str], Any]) -> None:
    """Have the clusters live and the running builds beat, which nothing does here by itself."""
    execute("UPDATE builds_cluster SET last_seen = now() + interval '1 hour'")
    execute("UPDATE builds_build SET heartbeat = now() WHERE status = 'RUNNING'")


def a_traceback() -> str:
    """Return a real traceback as it is stored."""
    from jobcontrol.utils import TracebackInfo

    def read(rows: list[str]) -> float:
        prices = {"apple": 1.5, "pear": 2.5}
        return sum(prices[row] for row in rows)

    try:
        read(["apple", "pear", "plum"])
    except KeyError as error:
        return json.dumps(TracebackInfo.from_exception(error).to_json())
    raise AssertionError("no plum")
