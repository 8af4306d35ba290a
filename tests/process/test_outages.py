"""Databases and brokers that are missing, busy or full, beside the faults of the matrix."""

from __future__ import annotations

import os
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.faults import SETTINGS, Faulty, faulty_site
from tests.support.site import wait_until as wait_for
from tests.support.web import web

pytestmark = pytest.mark.timeout(300)

IS_POSTGRES = os.environ.get("JOBCONTROL_TEST_DB", "sqlite") == "postgres"
TROUBLE = "SELECT trouble FROM builds_cluster"


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def log_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


if IS_POSTGRES:

    def test_a_database_server_that_is_missing_is_waited_for(tmp_path):
        with faulty_site("postgres", tmp_path / "site", own_postgres=True) as faulty:
            faulty.prepare()
            with web(faulty.site) as url:
                faulty.postgres.stop()
                with faulty.site.cluster(wait=False, **SETTINGS) as cluster:
                    wait_for(lambda: cluster.output.count("waiting for the database") >= 2)
                    pages_say_that_the_database_is_away(faulty, url)
                    checked = faulty.site.manage("qcluster", "--check")
                    assert checked.returncode == 1
                    assert "the database does not answer" in checked.stderr
                    assert len(checked.stderr.splitlines()) == 1
                    said = cluster.output
                    assert "workers are ready" not in said
                    assert "Traceback" not in said
                    assert len(said.splitlines()) < 10, "it waits longer and longer"
                    faulty.postgres.start()
                    cluster.wait_until_ready()
                    faulty.request()
                    faulty.check_promises()
                    wait_for(lambda: get(f"{url}/healthz?worker")[0] == 200)
                    checked = faulty.site.manage("qcluster", "--check", check=True)
                    assert f"process {cluster.pid} with 2 workers lives" in checked.stdout

    def pages_say_that_the_database_is_away(faulty: Faulty, url: str) -> None:
        # A session makes the page ask the database who this is.
        request = urllib.request.Request(f"{url}/admin/", headers={"Cookie": "sessionid=x" * 3})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(request, timeout=30)
        page = caught.value.read().decode()
        assert caught.value.code == 503
        assert "The database does not answer" in page
        assert "Traceback" not in page
        status, text = get(f"{url}/healthz")
        assert (status, '"database": "away"' in text) == (503, True)

    def test_workers_stop_in_bounded_time_also_when_the_database_server_hangs(tmp_path):
        with faulty_site("postgres", tmp_path / "site", own_postgres=True) as faulty:
            faulty.prepare(long=600)
            with faulty.site.cluster(**SETTINGS) as cluster:
                faulty.request(short=0, long=1)
                faulty.busy()
                with faulty.postgres.frozen():
                    assert cluster.stop(timeout=60) == 1
                    assert not cluster.processes()
                assert "the stop takes too long" in cluster.output
            with faulty.site.cluster(**SETTINGS):
                faulty.check_promises(lost=1, queued=1)

    def test_a_redis_that_is_missing_costs_a_moment_and_the_pages_say_so(tmp_path, site_template):
        with faulty_site("redis", tmp_path / "site", template=site_template) as faulty:
            faulty.prepare()
            faulty.redis.stop()
            with faulty.site.cluster(**SETTINGS) as cluster:
                faulty.request()
                faulty.check_promises()
                wait_for(lambda: faulty.site.sql(TROUBLE) == [("the broker does not answer.",)])
                assert "Traceback" not in cluster.output
                assert cluster.output.count("does not answer") < 10
                faulty.redis.start()
                wait_for(lambda: faulty.site.sql(TROUBLE) == [("",)])
                faulty.request(long=1)
                faulty.busy()
                faulty.redis.stop()
                faulty.request()
                faulty.check_promises(queued=121)
                wait_for(lambda: faulty.site.sql(TROUBLE) == [("the broker does not answer.",)])
                assert cluster.stop() == 0

else:

    def database(faulty: Faulty) -> str:
        return faulty.site.database_url.removeprefix("sqlite:///")

    def test_a_busy_sqlite_file_holds_up_and_loses_nothing(tmp_path, site_template):
        """Somebody else writes for longer than anybody waits."""
        with faulty_site("sqlite", tmp_path / "site", template=site_template) as faulty:
            # Which is not long here.
            faulty.site.env["DATABASE_URL"] = f"{faulty.site.database_url}?timeout=2"
            faulty.prepare()
            with faulty.site.cluster(**SETTINGS) as cluster:
                faulty.request(long=1)
                faulty.busy()
                with closing(sqlite3.connect(database(faulty), isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    wait_for(lambda: "database is locked" in cluster.output)
                    asked = faulty.site.manage("build_job", "short", "--queue")
                    assert asked.returncode == 2
                    (line,) = [
                        line for line in asked.stderr.splitlines() if line.startswith("jobcontrol:")
                    ]
                    assert "database is locked" in line
                    other.execute("ROLLBACK")
                faulty.check_promises()
                faulty.check_still_works()
                assert "Traceback" not in cluster.output
                assert cluster.stop() == 0

    FILL = """
        from django.db import OperationalError, connection
        from builds import services
        from builds.models import Build, BuildPayload
        from jobs import registry
        from jobs.models import Job

        registry.ensure_current()
        job = Job.objects.get(pk="short")
        with connection.cursor() as cursor:
            pages = cursor.execute("PRAGMA page_count").fetchone()[0]
            cursor.execute(f"PRAGMA max_page_count = {pages + 4}")
        asked = 0
        while True:
            try:
                services.request_build(job=job, trigger="python")
            except OperationalError as error:
                print(error)
                break
            asked += 1
        assert asked == Build.objects.count() == BuildPayload.objects.count(), "half-written"
    """

    def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path, site_template):
        with faulty_site("sqlite", tmp_path / "site", template=site_template) as faulty:
            faulty.prepare()
            said = faulty.site.python(FILL)
            assert said.strip() == "database or disk is full"
            faulty.request(short=1)
            with faulty.site.cluster(**SETTINGS):
                faulty.check_promises(queued=1)
