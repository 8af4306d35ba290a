"""Real clusters: every build once, whatever happens to messages and workers."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from tests import bootstrap
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
    site.manage("sync_jobs", check=True)
    return site


def test_a_chain_of_five_passes_values_along(site: Site):
    site.write_module("chain", "def add_one(number=0):\n    return number + 1\n")
    links = "".join(
        f"  - id: link{n}\n    function: chain:add_one\n    args: [!retval link{n - 1}]\n"
        for n in range(2, 6)
    )
    site.write_config("jobs:\n  - id: link1\n    function: chain:add_one\n" + links)
    site.manage("sync_jobs", check=True)
    with site.cluster():
        for n in range(1, 6):
            site.manage("build_job", f"link{n}", "--queue", "--wait", check=True)
    ended = site.json("list_builds", "link5")
    assert [(build["status"], build["retval"]) for build in ended] == [("SUCCESSFUL", "5")]


REQUEST = """
    from builds import queue, services
    from django_q.models import OrmQ
    from jobs.models import Job

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
        from jobs.models import Job

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
        wait_for(lambda: counting.json("get_build", number)["progress"]["current"] == 1)
        assert counting.json("get_build", number)["status"] == "RUNNING"
        (counting.folder / "go").touch()
        ended = counting.wait_for(asked["id"])
    assert ended["status"] == "SUCCESSFUL", ended


def test_a_build_that_no_cluster_runs_waits(counting: Site):
    asked = counting.json("build_job", "count", "--queue")
    assert asked["status"] == "QUEUED"
    with counting.cluster():
        assert counting.wait_for(asked["id"])["status"] == "SUCCESSFUL"


def test_a_stop_lets_the_running_build_end(counting: Site):
    counting.write_config(
        f"""
        jobs:
          - id: slow
            function: counting:count
            args: ["{counting.folder}/counted", 7, 3.0]
        """
    )
    with counting.cluster() as cluster:
        counting.manage("build_job", "slow", "--queue", check=True)
        wait_for(lambda: (counting.folder / "counted").exists())
        assert cluster.stop() == 0
    assert [build["status"] for build in builds(counting)] == ["SUCCESSFUL"]


def test_a_stop_of_every_process_at_once_lets_the_running_build_end(counting: Site):
    """As a service manager stops a service."""
    counting.write_config(
        f"""
        jobs:
          - id: slow
            function: counting:count
            args: ["{counting.folder}/counted", 7, 3.0]
        """
    )
    for round_ in range(1, 4):
        with counting.cluster() as cluster:
            counting.manage("build_job", "slow", "--queue", check=True)
            wait_for(lambda: (counting.folder / "counted").exists())
            (counting.folder / "counted").unlink()
            os.killpg(cluster.pid, signal.SIGTERM)
            assert cluster.process.wait(timeout=60) == 0, cluster.output
            assert cluster.processes() == []
        assert [build["status"] for build in builds(counting)] == ["SUCCESSFUL"] * round_


def test_a_jobs_own_children_still_end_when_they_are_told_to(counting: Site):
    counting.write_module(
        "children",
        """
        import multiprocessing, subprocess, sys, time

        def run():
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            child.start()
            program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            time.sleep(1)
            child.terminate()
            program.terminate()
            child.join(30)
            return child.exitcode, program.wait(30)
        """,
    )
    counting.write_config("jobs:\n  - id: run\n    function: children:run\n")
    with counting.cluster():
        ended = counting.json("build_job", "run", "--queue", "--wait")
    assert (ended["status"], ended["retval"]) == ("SUCCESSFUL", "(-15, -15)")


def test_a_worker_without_tables_says_so_in_one_line(counting: Site, tmp_path):
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"}
    ended = counting.manage("qcluster", env=env)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("jobcontrol: the database can't be used")
    assert "migrate" in last
    assert "Traceback" not in ended.stderr


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


def test_the_cluster_follows_the_file(counting: Site):
    """original #17"""
    with counting.cluster():
        counting.write_config("jobs:\n  - id: fresh\n    function: counting:count\n")
        wait_for(lambda: [job["id"] for job in counting.json("list_jobs")] == ["fresh"])
        counting.write_config("jobs: [broken")
        time.sleep(3)
        assert [job["id"] for job in counting.json("list_jobs")] == ["fresh"]


def test_the_workers_own_output_shows_no_secret(counting: Site):
    counting.write_module(
        "leaky",
        """
        import logging
        def leak(secret):
            logging.getLogger("leaky").error("could not log in with %s", secret)
            try:
                raise ValueError(secret)
            except ValueError:
                logging.getLogger("leaky").exception("again")
        """,
    )
    counting.write_config(
        "secret: {key: hunter22-secret}\n"
        "jobs:\n  - {id: leak, function: 'leaky:leak', args: [!secret key]}\n"
    )
    with counting.cluster() as cluster:
        counting.manage("build_job", "leak", "--queue", "--wait", check=True)
        assert "could not log in with •••" in cluster.output
        assert "hunter22-secret" not in cluster.output


def test_a_build_on_the_command_line_ends_with_sigterm(counting: Site):
    command = counting.start(str(bootstrap.ROOT / "manage.py"), "build_job", "hang")
    mark = counting.folder / "hanging"
    wait_for(lambda: mark.exists() and mark.read_text())
    command.send_signal(signal.SIGTERM)
    assert command.wait(timeout=60) == 1
    (ended,) = builds(counting)
    assert (ended["status"], ended["failure_kind"]) == ("FAILED", "exception")
    assert ended["exception"].startswith("SystemExit: 143")
