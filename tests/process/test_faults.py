"""The promises hold while the processes of a cluster are killed under it."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.support import faults
from tests.support.faults import Family, cluster_of, kill, wait_for
from tests.support.site import Site

SHORT = 60


@pytest.fixture
def faulty(site: Site) -> Site:
    faults.prepare(site)
    return site


def busy(site: Site, count: int = 1) -> list[psutil.Process]:
    """Wait until so many long builds run, and return their processes."""
    wait_for(lambda: len(faults.busy_pids(site)) >= count)
    return [psutil.Process(pid) for pid in faults.busy_pids(site)]


def test_every_idle_worker_in_turn(faulty: Site):
    """Of them one waits for the next wake-up: with django-q2's queue its death stops all others."""
    with cluster_of(faulty) as (cluster, family):
        for _ in range(2):
            for worker in Family(cluster).workers:
                kill(worker)
                wait_for(lambda worker=worker: worker.pid not in pids(cluster))
        faults.request(faulty, short=SHORT)
        faults.check_promises(faulty, lost=0)
        faults.check_still_works(faulty)
        assert cluster.stop() == 0


def pids(cluster) -> list[int]:
    return [process.pid for process in Family(cluster).workers]


@pytest.mark.parametrize("who", ["pusher", "monitor", "sentinel"])
def test_a_helper(faulty: Site, who: str):
    with cluster_of(faulty) as (cluster, family):
        faults.request(faulty, short=SHORT, long=1)
        busy(faulty)
        kill(getattr(family, who))
        faults.check_promises(faulty, lost=1 if who == "sentinel" else 0)
        faults.check_still_works(faulty)
        assert cluster.stop() == 0
        assert cluster.processes() == []


def test_a_busy_worker(faulty: Site):
    with cluster_of(faulty) as (cluster, _):
        faults.request(faulty, short=SHORT, long=1)
        kill(*busy(faulty))
        faults.check_promises(faulty, lost=1)
        faults.check_still_works(faulty)
        assert cluster.stop() == 0


def test_a_busy_worker_that_sleeps_past_its_lease(faulty: Site):
    with cluster_of(faulty):
        faults.request(faulty, short=SHORT, long=1)
        (worker,) = busy(faulty)
        worker.suspend()
        faults.check_promises(faulty, lost=1)
        wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
        faults.check_still_works(faulty)


@pytest.mark.parametrize("who", ["main", "all"])
def test_the_whole_cluster(faulty: Site, who: str):
    with cluster_of(faulty) as (cluster, family):
        faults.request(faulty, short=SHORT, long=1)
        busy(faulty)
        kill(*([family.main] if who == "main" else family.all()))
        cluster.process.wait(timeout=60)
        wait_for(lambda: cluster.processes() == [])
    with cluster_of(faulty):
        faults.check_promises(faulty, lost=2)
        faults.check_still_works(faulty)


def test_a_stop_ends_in_bounded_time_and_the_next_cluster_goes_on(faulty: Site):
    faulty.write_config(faulty.config_path.read_text().replace("8.0", "600.0"))
    with cluster_of(faulty) as (cluster, _):
        faults.request(faulty, short=SHORT, long=1)
        busy(faulty)
        cluster.process.send_signal(signal.SIGTERM)
        assert cluster.process.wait(timeout=60) == 0
        assert cluster.processes() == []
        (stopped,) = [row for row in faults.rows(faulty) if row["job_id"] == "long"]
        assert (stopped["status"], stopped["failure_kind"]) == ("FAILED", "shutdown")
    with cluster_of(faulty):
        faults.check_promises(faulty, lost=1)
