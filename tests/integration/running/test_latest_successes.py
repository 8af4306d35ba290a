"""The newest usable build of each of many jobs."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from builds import services
from builds.models import Build
from tests.support.jobs import use_config
from tests.support.many import copies

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: a, function: "m:f"}
  - {id: b, function: "m:f"}
  - {id: never, function: "m:f"}
  - {id: other, function: "m:f"}
"""


@pytest.fixture(autouse=True)
def config():
    use_config(CONFIG)


def made(job_id, status="SUCCESSFUL", **fields):
    return Build.objects.create(job_id=job_id, status=status, **fields).pk


def test_it_is_the_newest_success_that_is_not_being_deleted():
    made("a")
    newest = made("a")
    for state in ("FAILED", "SKIPPED", "CANCELLED", "RUNNING", "QUEUED"):
        made("a", state)
    made("a", deleting=True)
    other = made("b")
    made("never", "FAILED")
    made("other")
    found = services.latest_successful_builds(["a", "b", "never", "no such job"])
    assert found == {"a": newest, "b": other}


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_it_reads_one_build_of_each_job_however_many_there_are():
    jobs = [f"j{n}" for n in range(200)]
    use_config("jobs:\n" + "\n".join(f"  - {{id: {name}, function: 'm:f'}}" for name in jobs))
    first = Build.objects.create(job_id="j1", status="SUCCESSFUL")
    copies(first, range(50, 200 * 50), job_id="'j' || CAST(n / 50 AS text)")
    with CaptureQueriesContext(connection) as queries:
        services.latest_successful_builds(jobs[:3])
    assert len(queries) == 1
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE builds_build")
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + queries[0]["sql"])
        plan = cursor.fetchone()[0]
    assert 0 < builds_read(plan[0]["Plan"]) < 4, plan


def builds_read(node):
    """How many builds a plan's scans have looked at."""
    own = 0
    if node.get("Relation Name") == "builds_build":
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = rows * node["Actual Loops"]
    return own + sum(builds_read(part) for part in node.get("Plans", ()))
