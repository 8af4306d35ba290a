"""How wake-ups reach real clusters with nobody's help but the broker's: supervisors stand still."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.process.test_limits import NOTING, ask, lines, pids
from tests.support.faults import SETTINGS, faulty_site
from tests.support.pools import deaf_pool
from tests.support.site import Cluster, Site
from tests.support.site import wait_until as wait_for

pytestmark = pytest.mark.timeout(300)

IS_POSTGRES = os.environ.get("JOBCONTROL_TEST_DB", "sqlite") == "postgres"
# Longer than a worker goes on claiming: each build needs a wake-up of its own.
LONG = 1.1
# Whoever polls would still wait when the test is given up.
NEVER_POLLS = """
from jobcontrol_site.settings import *
from builds import waits

Q_CLUSTER["poll"] = waits.WAIT_SECONDS = 3600
"""


@pytest.fixture
def noting(site: Site) -> Site:
    prepare(site)
    return site


def prepare(site: Site) -> None:
    site.write_module("noting", NOTING)
    jobs = "".join(
        f"""
          - id: {name}
            function: noting:note
            args: ["{site.folder}/{name}", {seconds}]
            queue: {queue}
        """
        for name, seconds, queue in (
            ("short", 0, "default"),
            ("long", LONG, "default"),
            ("endless", 600, "default"),
            ("heavy", 0, "heavy"),
            ("other", 0, "other"),
        )
    )
    site.write_config(f"\n        jobs:{jobs}")


def never_poll(site: Site) -> None:
    site.write_module("never_polls", NEVER_POLLS)
    site.env["PYTHONPATH"] = os.pathsep.join((site.env["PYTHONPATH"], str(site.folder)))
    site.env["DJANGO_SETTINGS_MODULE"] = "never_polls"


def builds_start_one_by_one(site: Site, cluster: Cluster, *names: str) -> None:
    with site.standstill(cluster):
        for name in names:
            ended = site.finished()
            ask(site, **{name: 1})
            wait_for(lambda ended=ended: site.finished() > ended)


def test_a_wake_up_reaches_a_cluster_that_does_not_poll(noting: Site):
    never_poll(noting)
    with noting.cluster(WORKERS=1) as cluster:
        builds_start_one_by_one(noting, cluster, "short", "short", "short")


def test_the_wake_ups_of_each_of_its_queues_reach_a_cluster(noting: Site):
    never_poll(noting)
    with (
        noting.cluster(WORKERS=1) as usual,
        noting.cluster("--queue", "heavy,other", WORKERS=1) as heavy,
        noting.standstill(usual),
    ):
        builds_start_one_by_one(noting, heavy, "other", "heavy", "short", "other")


@pytest.mark.parametrize("broker", ["database", "redis"])
def test_a_busy_cluster_leaves_the_wake_ups_to_one_that_is_idle(noting: Site, request, broker):
    if broker == "redis":
        noting.env["REDIS_URL"] = request.getfixturevalue("redis_url")
    settings = {"WORKERS": 1, "SHUTDOWN_SECONDS": 0, "GRACE_SECONDS": 2}
    with noting.cluster(**settings) as busy:
        ask(noting, endless=1)
        running = "SELECT 1 FROM builds_build WHERE status = 'RUNNING'"
        wait_for(lambda: noting.sql(running))
        with noting.cluster(**settings) as idle, ExitStack() as stack:
            family = pids(idle)
            for cluster in (busy, idle):
                stack.enter_context(noting.standstill(cluster))
            ask(noting, long=5)
            wait_for(lambda: noting.finished() == 5)
            assert {pid for *_, pid in lines(noting.folder / "long")} <= family


if IS_POSTGRES:

    def test_whoever_is_not_told_polls(noting: Site):
        with deaf_pool(noting.database_url) as url:
            noting.env["DATABASE_URL"] = url
            with noting.cluster(WORKERS=1, HEARTBEAT_SECONDS=1) as cluster:
                wait_for(lambda: "wake-ups are polled for" in cluster.output)
                builds_start_one_by_one(noting, cluster, "short", "short")
                assert cluster.output.count("wake-ups are polled for") == 1

    def test_wake_ups_are_told_again_after_a_restart_of_the_database(tmp_path):
        with faulty_site("postgres", tmp_path / "site", own_postgres=True) as faulty:
            prepare(faulty.site)
            never_poll(faulty.site)
            with faulty.site.cluster(**SETTINGS | {"WORKERS": 1}) as cluster:
                for times, mode in enumerate(("fast", "immediate"), 1):
                    faulty.postgres.stop(mode)
                    says(cluster, "no wake-ups: the database does not answer", times)
                    faulty.postgres.start()
                    says(cluster, "wake-ups again: the database answers", times)
                    # With the first one the worker finds out that its connection is broken.
                    ask(faulty.site, short=1)
                    wait_for(lambda times=times: faulty.site.finished() == 3 * times - 2)
                    builds_start_one_by_one(faulty.site, cluster, "short", "short")
                assert cluster.stop() == 0

    def says(cluster: Cluster, text: str, times: int) -> None:
        wait_for(lambda: cluster.output.count(text) >= times)
