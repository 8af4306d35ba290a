"""Two real clusters and jobs that are due by themselves."""

from __future__ import annotations

import pytest

from tests.process.test_cluster import wait_for
from tests.support.site import Site

pytestmark = pytest.mark.timeout(300)

MODULE = """
def value(number=1):
    return number
"""
DONE = "SELECT count(*) FROM builds_build WHERE status = 'SUCCESSFUL'"
QUERY = "SELECT due, state, build_number FROM builds_scheduledrun WHERE job_id = 'often'"


def test_two_clusters_start_each_time_once(site: Site) -> None:
    site.write_module("timed", MODULE)
    site.write_config(
        """
        jobs:
          - id: often
            function: timed:value
            schedule: {every: 1s, overlap: allow}
          - id: follows
            function: timed:value
            dependencies: [often]
            rebuild: auto
        """
    )
    with site.cluster(WORKERS="1"), site.cluster(WORKERS="1"):
        wait_for(lambda: site.sql(f"{DONE} AND job_id = 'often'")[0][0] >= 12)
        wait_for(lambda: site.sql(f"{DONE} AND job_id = 'follows'")[0][0] >= 2)
    rows = site.sql(QUERY)
    decided = [row for row in rows if row[1] != "PLANNED"]
    assert {state for _, state, _ in decided} == {"STARTED"}
    times = [due for due, _, _ in decided]
    assert len(times) == len(set(times))
    numbers = [number for _, _, number in decided]
    assert len(numbers) == len(set(numbers))
    made = site.sql("SELECT id FROM builds_build WHERE job_id = 'often'")
    assert set(numbers) == {number for (number,) in made}
