"""Real clusters: every build once, whatever happens to messages and workers."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from tests.support.site import Site

COUNTER = """
import os, time

def count(path, number=0, wait=0.0):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b"%d\\n" % number)
    os.close(handle)
    time.sleep(wait)
    return number

def own_number(path):
    from jobcontrol.globals import current_build
    return count(path, current_build.id, 0.01)

def hang(mark):
    import logging
    logging.getLogger().info("about to hang")
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
"""


def wait_for(condition, seconds: float = 90.0):
    """Wait until `condition()` is true and return it; generous, it only ends a hanging test."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return result


def builds(site: Site, *arguments: str) -> list[dict]:
    return site.json("list_builds", "--limit", "10000", *arguments)


@pytest.fixture
def counting(site: Site) -> Site:
    site.write_module("counting", COUNTER)
    site.write_config(
        f"""
        jobs:
          - id: count
            function: counting:count
            args: ["{site.folder}/counted", 1]
          - id: own_number
            function: counting:own_number
            args: ["{site.folder}/counted"]
          - id: hang
            function: counting:hang
            args: ["{site.folder}/hanging"]
        """
    )
    return site  # whoever needs the jobs first syncs


REQUEST = """
    from builds import queue, services
    from django_q.models import OrmQ
    from jobs import registry
    from jobs.models import Job

    registry.ensure_current()
    queue.wake(times=20)  # for nothing
    job = Job.objects.get(pk="own_number")
    for number in range(250):
        services.request_build(job=job, trigger="cli")
        if number % 5 == 0:
            queue.wake()  # doubled
        elif number % 5 == 1:
            last = OrmQ.objects.order_by("-id").first()
            if last:  # none where the workers were quicker
                last.delete()  # lost
"""


def test_wake_ups_lost_doubled_and_for_nothing(counting: Site):
    """500 builds, two clusters: each runs exactly once, and both clusters have a part in it."""
    counting.python(REQUEST)
    with counting.cluster(WORKERS="2") as one, counting.cluster(WORKERS="2") as other:
        counting.python(REQUEST)
        wait_for(lambda: counting.finished() == 500)
        trees = [{process.pid for process in cluster.processes()} for cluster in (one, other)]
    every = builds(counting)
    assert {build["status"] for build in every} == {"SUCCESSFUL"}
    # Each run wrote the number of its own build.
    lines = (counting.folder / "counted").read_text().split()
    assert sorted(map(int, lines)) == sorted(build["id"] for build in every)
    workers = counting.python(
        """
        from builds.models import Build
        from builds.workers import WorkerIdentity

        names = Build.objects.order_by().values_list("worker", flat=True).distinct()
        print(*(WorkerIdentity.parse(name).pid for name in names))
        """
    )
    pids = set(map(int, workers.split()))
    assert all(pids & tree for tree in trees), (pids, trees)


def test_all_wake_ups_lost(counting: Site):
    counting.python(
        """
        from builds import services
        from django_q.models import OrmQ
        from jobs import registry
        from jobs.models import Job

        registry.ensure_current()
        for _ in range(5):
            services.request_build(job=Job.objects.get(pk="count"), trigger="cli")
        OrmQ.objects.all().delete()
        """
    )
    with counting.cluster():
        wait_for(lambda: counting.finished() == 5)


def test_a_killed_worker_fails_its_build_and_the_next_one_runs(counting: Site):
    """original #23"""
    for _ in range(3):
        (counting.folder / "hanging").unlink(missing_ok=True)
        with counting.cluster(HEARTBEAT_SECONDS="1", LEASE_SECONDS="5"):
            asked = counting.json("build_job", "hang", "--queue")
            mark = counting.folder / "hanging"
            pid = int(wait_for(lambda: mark.exists() and mark.read_text()))
            psutil.Process(pid).send_signal(signal.SIGKILL)
            killed = datetime.now(UTC)
            ended = counting.wait_for(asked["id"])
            late = datetime.fromisoformat(ended["end_time"]) - killed
            assert late.total_seconds() < 5 + 10, "the lease and ten seconds"
            assert (ended["status"], ended["failure_kind"]) == ("FAILED", "worker_lost")
            assert f"process {pid} on" in ended["exception"]
            after = counting.json("build_job", "count", "--queue", "--wait")
            assert after["status"] == "SUCCESSFUL"


def test_a_worker_without_heartbeat_is_killed_and_its_build_closed(counting: Site):
    with counting.cluster(HEARTBEAT_SECONDS="1", LEASE_SECONDS="4"):
        asked = counting.json("build_job", "hang", "--queue")
        mark = counting.folder / "hanging"
        pid = int(wait_for(lambda: mark.exists() and mark.read_text()))
        process = psutil.Process(pid)
        process.suspend()
        ended = counting.wait_for(asked["id"])
        assert ended["failure_kind"] == "worker_lost"
        wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        after = counting.json("build_job", "count", "--queue", "--wait")
        assert after["status"] == "SUCCESSFUL"


def test_a_long_silent_build_keeps_its_lease_and_shows_progress(counting: Site):
    counting.write_module(
        "slow",
        """
        import time
        from pathlib import Path
        from jobcontrol.globals import current_app

        go = Path(__file__).with_name("go")

        def work():
            current_app.report_progress(None, 1, 2)
            time.sleep(12)
            while not go.exists():
                time.sleep(0.1)
        """,
    )
    counting.write_config("jobs:\n  - id: slow\n    function: slow:work\n")
    with counting.cluster(HEARTBEAT_SECONDS="1", LEASE_SECONDS="5"):
        asked = counting.json("build_job", "slow", "--queue")
        number = str(asked["id"])
        # A process each time would take a core of the machine.
        wait_for(lambda: counting.sql("SELECT 1 FROM builds_buildprogress WHERE current = 1"))
        shown = counting.json("get_build", number)
        assert (shown["progress"]["current"], shown["status"]) == (1, "RUNNING")
        (counting.folder / "go").touch()
        ended = counting.wait_for(asked["id"])
    assert ended["status"] == "SUCCESSFUL", ended


def test_a_build_that_no_cluster_runs_waits(counting: Site):
    asked = counting.json("build_job", "count", "--queue")
    assert asked["status"] == "QUEUED"
    with counting.cluster():
        assert counting.wait_for(asked["id"])["status"] == "SUCCESSFUL"


def test_redis_wakes_workers_too(counting: Site, redis_url: str):
    counting.env["REDIS_URL"] = redis_url
    with counting.cluster():
        ended = counting.json("build_job", "count", "--queue", "--wait")
    assert ended["status"] == "SUCCESSFUL"
    counting.env["REDIS_URL"] = "redis://127.0.0.1:1/0"
    asked = counting.json("build_job", "count", "--queue")
    assert asked["status"] == "QUEUED", "a broker that is down loses nothing"
    counting.env["REDIS_URL"] = redis_url
    with counting.cluster():
        assert counting.wait_for(asked["id"])["status"] == "SUCCESSFUL"
