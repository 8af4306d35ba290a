"""The fault matrix: the promises hold while a cluster and its servers are killed under it.

In the suite each fault is done on one database, with few builds; `make test-faults` does all of
them on all databases, with 200 builds queued, and prints the table.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.faults import FULL, QUEUED, Family, Faulty, cluster_of, faulty_site, kill
from tests.support.site import wait_until as wait_for

pytestmark = pytest.mark.timeout(300)


def pids(cluster) -> list[int]:
    return [process.pid for process in Family(cluster).workers]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def idle_workers(faulty: Faulty) -> None:
    """Of them one waits for the next wake-up: with django-q2's queue its death stops all others."""
    with cluster_of(faulty) as (cluster, _):
        for _ in range(2 if FULL else 1):
            for worker in Family(cluster).workers:
                kill(worker)
                wait_for(lambda worker=worker: worker.pid not in pids(cluster))
        faulty.request()
        faulty.check_promises()
        faulty.check_still_works()
        assert cluster.stop() == 0


def helper(name: str) -> Callable[[Faulty], None]:
    takes_all = name == "sentinel"

    def do(faulty: Faulty) -> None:
        faulty.prepare(long=600.0 if takes_all else 4.0)
        with cluster_of(faulty) as (cluster, family):
            faulty.request(long=1)
            faulty.busy()
            kill(getattr(family, name))
            faulty.check_promises(lost=int(takes_all), may_be_lost=int(takes_all))
            faulty.check_still_works()
            assert cluster.stop() == 0
            assert cluster.processes() == []

    return do


def busy_worker(faulty: Faulty) -> None:
    faulty.prepare(long=600.0)
    with cluster_of(faulty) as (cluster, _):
        faulty.request(long=1)
        kill(faulty.busy())
        faulty.check_promises(lost=1)
        faulty.check_still_works()
        assert cluster.stop() == 0


def sleeping_worker(faulty: Faulty) -> None:
    """One of this host is killed when its lease is over."""
    faulty.prepare(long=600.0)
    with cluster_of(faulty):
        faulty.request(long=1)
        worker = faulty.busy()
        worker.suspend()
        faulty.check_promises(lost=1)
        wait_for(lambda: is_gone(worker))
        faulty.check_still_works()


def waking_worker(faulty: Faulty) -> None:
    """One that can't be killed, as on another host, wakes up and finds its build taken away."""
    faulty.prepare(long=600.0)
    with cluster_of(faulty):
        faulty.request(long=1)
        worker = faulty.busy()
        worker.suspend()
        faulty.site.sql(
            "UPDATE builds_build SET worker = 'elsewhere:0123456789ab:1:1' WHERE job_id = 'long'"
        )
        faulty.check_promises(lost=1)
        before = [row for row in faulty.builds() if row[1] == "long"]
        log = "SELECT count(*) FROM builds_logmessage m JOIN builds_build b ON b.id = m.build_id"
        log += " WHERE b.job_id = 'long'"
        lines = faulty.site.sql(log)
        worker.resume()
        # It works again once it has let go of the build that is not its own.
        faulty.check_still_works()
        outputs = sorted(faulty.site.folder.glob("cluster-*.log"))
        wait_for(lambda: "event=not_recorded" in outputs[-1].read_text())
        assert before == [row for row in faulty.builds() if row[1] == "long"]
        assert faulty.site.sql(log) == lines
        assert faulty.numbers("done") == []


def whole(name: str) -> Callable[[Faulty], None]:
    def do(faulty: Faulty) -> None:
        faulty.prepare(long=600.0)
        with cluster_of(faulty) as (cluster, family):
            faulty.request(long=1)
            faulty.busy()
            kill(*([family.main] if name == "main" else family.all()))
            cluster.process.wait(timeout=60)
            wait_for(lambda: cluster.processes() == [])
        with cluster_of(faulty):
            faulty.check_promises(lost=1, may_be_lost=1)
            faulty.check_still_works()

    return do


def stop(faulty: Faulty) -> None:
    """SIGTERM with a long build: it ends in bounded time, and the next cluster goes on."""
    faulty.prepare(long=600.0)
    with cluster_of(faulty) as (cluster, _):
        faulty.request(long=1)
        faulty.busy()
        cluster.process.send_signal(signal.SIGTERM)
        assert cluster.process.wait(timeout=60) == 0
        assert cluster.processes() == []
        (stopped,) = [row for row in faulty.builds() if row[1] == "long"]
        assert stopped[2:] == ("FAILED", "shutdown")
    with cluster_of(faulty):
        faulty.check_promises(lost=1)
        faulty.check_still_works()


def postgres_restart(faulty: Faulty) -> None:
    """Records wait, the outcome is written when it is back, and everybody goes on."""
    assert faulty.postgres is not None
    seconds = 6.0
    faulty.prepare(long=seconds)
    for mode in ("fast", "immediate"):
        with cluster_of(faulty) as (cluster, family):
            faulty.request(long=1)
            faulty.busy(1 if mode == "fast" else 2)
            before = {process.pid for process in family.all()}
            faulty.postgres.stop(mode)
            time.sleep(3.0)  # long enough for writes to fail and to wait
            faulty.postgres.start()
            faulty.check_promises()
            faulty.check_still_works()
            assert {process.pid for process in family.all() if not is_gone(process)} == before
            wait_for(lambda: "the database answers again" in cluster.output)
            assert cluster.output.count("does not answer") < 15, "clear lines, but few"
            assert "Traceback" not in cluster.output
            assert cluster.stop() == 0
    lines = "SELECT count(*) FROM builds_logmessage WHERE logger = 'work'"
    assert faulty.site.sql(lines) == [(2 * int(seconds * 10),)]


def redis_emptied(faulty: Faulty) -> None:
    assert faulty.redis is not None
    with cluster_of(faulty) as (cluster, _):
        faulty.request(long=1)
        faulty.busy()
        faulty.redis.empty()
        faulty.check_promises()
        faulty.redis.stop()
        faulty.request()
        faulty.redis.start()
        faulty.check_promises(queued=2 * QUEUED)
        faulty.check_still_works()
        assert cluster.stop() == 0


ALL = ("sqlite", "postgres", "redis")
SERVERS = ("postgres", "redis")
# Fault, what does it, where, and on which database in the suite.
FAULTS: tuple[tuple[str, Callable[[Faulty], None], tuple[str, ...], str], ...] = (
    ("SIGKILL a busy worker", busy_worker, ALL, "sqlite"),
    ("SIGKILL every idle worker in turn", idle_workers, ALL, "sqlite"),
    ("SIGKILL the pusher", helper("pusher"), ALL, "postgres"),
    ("SIGKILL the monitor", helper("monitor"), ALL, "sqlite"),
    ("SIGKILL the sentinel", helper("sentinel"), ALL, "postgres"),
    ("SIGKILL the main process", whole("main"), ALL, "sqlite"),
    ("SIGKILL all at once", whole("all"), ALL, "postgres"),
    ("SIGSTOP a busy worker past its lease", sleeping_worker, ALL, "sqlite"),
    ("SIGSTOP past the lease, then SIGCONT", waking_worker, ALL, "postgres"),
    ("SIGTERM with a long build", stop, ALL, "sqlite"),
    ("PostgreSQL restarted and crashed", postgres_restart, SERVERS, "postgres"),
    ("Redis emptied, away, restarted", redis_emptied, ("redis",), "redis"),
)


def cases() -> Iterator[object]:
    here = os.environ.get("JOBCONTROL_TEST_DB", "sqlite")
    kinds = {"sqlite": ("sqlite",), "postgres": SERVERS}[here]
    for name, do, possible, in_the_suite in FAULTS:
        for kind in possible:
            if FULL or (kind == in_the_suite and kind in kinds):
                yield pytest.param(name, do, kind, id=f"{name}, {kind}")


@pytest.mark.parametrize(("name", "do", "kind"), list(cases()))
def test_fault(
    name: str,
    do: Callable[[Faulty], None],
    kind: str,
    tmp_path: Path,
    site_template: str,
    fault_table: list,
):
    begin = time.monotonic()
    folder, own_postgres = tmp_path / "site", do is postgres_restart
    with faulty_site(kind, folder, template=site_template, own_postgres=own_postgres) as faulty:
        faulty.prepare()
        row = {"fault": name, "on": kind, "result": "FAILED", "facts": faulty.facts}
        fault_table.append(row)
        do(faulty)
        row["result"] = "held"
        faulty.facts["took"] = f"{time.monotonic() - begin:.0f}s"
