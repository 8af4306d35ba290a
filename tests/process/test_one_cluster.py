"""One real cluster, or none: what is the same on every database, so that it is shown once."""

from __future__ import annotations

import os
import signal
import time

from tests import bootstrap
from tests.process.test_cluster import builds, counting, wait_for
from tests.support.site import Site

__all__ = ["counting"]  # a fixture


def test_a_chain_of_five_passes_values_along(site: Site):
    site.write_module("chain", "def add_one(number=0):\n    return number + 1\n")
    links = "".join(
        f"  - id: link{n}\n    function: chain:add_one\n    args: [!retval link{n - 1}]\n"
        for n in range(2, 6)
    )
    site.write_config("jobs:\n  - id: link1\n    function: chain:add_one\n" + links)
    with site.cluster():
        for n in range(1, 6):
            site.manage("build_job", f"link{n}", "--queue", "--wait", check=True)
    ended = site.json("list_builds", "link5")
    assert [(build["status"], build["retval"]) for build in ended] == [("SUCCESSFUL", "5")]


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


def test_the_cluster_follows_the_file(counting: Site):
    """original #17"""
    with counting.cluster():
        counting.write_config("jobs:\n  - id: fresh\n    function: counting:count\n")
        wait_for(lambda: counting.sql("SELECT 1 FROM jobs_job WHERE id = 'fresh'"))
        assert [job["id"] for job in counting.json("list_jobs")] == ["fresh"]
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
