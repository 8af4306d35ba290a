"""Builds that are told to stop, in real workers: cancelled, timed out, tried again."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.support.faults import SETTINGS, wait_for
from tests.support.site import Site

MODULE = '''
import ctypes, multiprocessing, os, re, subprocess, sys, time

def begin(mark):
    with open(mark, "w") as file:
        file.write(str(os.getpid()))

def sleep(mark):
    """Sleeps, and tidies up."""
    begin(mark)
    try:
        time.sleep(600)
    finally:
        with open(mark + ".tidy", "w") as file:
            file.write("done")

def stubborn(mark):
    """Goes on whatever it is told, with a child of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(mark + ".child", "w") as file:
        file.write(str(child.pid))
    begin(mark)
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass

def hold_interpreter(mark):
    """Stays in C code that lets no other thread run."""
    begin(mark)
    re.match(r"(a+)+$", "a" * 64 + "b")

def deadlock(mark):
    """Stays in C code that lets other threads run and takes no notice of signals."""
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(256)
    begin(mark)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

def fail_twice(path):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 3:
        raise ValueError("not yet")
    return "well at last"
'''


@pytest.fixture
def stopping(site: Site) -> Site:
    site.write_module("stopping", MODULE)
    names = ("sleep", "stubborn", "hold_interpreter", "deadlock")
    jobs = "".join(
        f"  - {{id: {name}, function: 'stopping:{name}', args: ['{site.folder}/mark']}}\n"
        f"  - {{id: short_{name}, function: 'stopping:{name}', args: ['{site.folder}/mark'],\n"
        "     timeout: 1}\n"
        for name in names
    )
    site.write_config(
        "jobs:\n"
        + jobs
        + f"""  - id: fail_twice
    function: stopping:fail_twice
    args: ["{site.folder}/tries"]
    retries: {{count: 3, delay: 1s, backoff: 2}}
  - {{id: good, function: "builtins:int"}}
"""
    )
    return site  # each test begins with a cluster, which syncs


def begun(site: Site, name: str) -> tuple[int, psutil.Process]:
    """Ask for a build; return its number and process once its function runs."""
    number = site.json("build_job", name, "--queue")["id"]
    mark = site.folder / "mark"
    pid = int(wait_for(lambda: mark.exists() and mark.read_text()))
    process = psutil.Process(pid)
    mark.unlink()
    return number, process


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_cancelled_build_tidies_up_and_its_worker_goes_on(stopping: Site):
    with stopping.cluster(**SETTINGS | {"WORKERS": 1}):
        number, worker = begun(stopping, "sleep")
        (row,) = stopping.json("cancel_build", str(number))
        assert (row["status"], row["cancelled"]) == ("RUNNING", True)
        ended = stopping.wait_for(number)
        assert ended["status"] == "CANCELLED"
        assert (stopping.folder / "mark.tidy").exists()
        assert stopping.json("build_job", "good", "--queue", "--wait")["status"] == "SUCCESSFUL"
        assert worker.is_running(), "the same process"


@pytest.mark.parametrize("name", ["stubborn", "hold_interpreter", "deadlock"])
def test_a_build_that_does_not_stop_is_killed_and_stays_cancelled(stopping: Site, name: str):
    with stopping.cluster(**SETTINGS | {"WORKERS": 1, "LEASE_SECONDS": 60}):
        number, worker = begun(stopping, name)
        stopping.json("cancel_build", str(number))
        ended = stopping.wait_for(number)
        assert (ended["status"], ended["failure_kind"]) == ("CANCELLED", None)
        wait_for(lambda: is_gone(worker))
        if name == "stubborn":
            child = int((stopping.folder / "mark.child").read_text())
            wait_for(lambda: not psutil.pid_exists(child) or is_gone(psutil.Process(child)))
        assert stopping.json("build_job", "good", "--queue", "--wait")["status"] == "SUCCESSFUL"
        assert stopping.json("get_build", str(number))["status"] == "CANCELLED"


@pytest.mark.parametrize("name", ["sleep", "stubborn", "hold_interpreter", "deadlock"])
def test_a_build_that_runs_too_long_fails(stopping: Site, name: str):
    with stopping.cluster(**SETTINGS | {"WORKERS": 1, "LEASE_SECONDS": 60}):
        number, _ = begun(stopping, f"short_{name}")
        ended = stopping.wait_for(number)
        assert (ended["status"], ended["failure_kind"]) == ("FAILED", "timeout")
        assert ended["exception"].startswith("Timeout: it ran for more than 1s")
        assert stopping.json("build_job", "good", "--queue", "--wait")["status"] == "SUCCESSFUL"
    where = stopping.python(
        f"""
        from builds.models import BuildPayload
        from jobcontrol.utils import TracebackInfo
        stored = BuildPayload.objects.get(pk={number}).traceback
        print(stored and [frame["name"] for frame in stored["frames"]])
        """
    )
    if name != "hold_interpreter":  # no other thread could look
        assert f"'{name}'" in where, where


@pytest.mark.parametrize("name", ["sleep", "stubborn", "deadlock"])
def test_a_stop_of_the_workers_ends_each_build_and_it_is_tried_again(stopping: Site, name: str):
    config = stopping.config_path.read_text()
    retries = f"{{id: {name}, retries: {{count: 1, on: [shutdown]}},"
    stopping.write_config(config.replace(f"{{id: {name},", retries))
    times = SETTINGS | {"WORKERS": 1, "SHUTDOWN_SECONDS": 1}
    with stopping.cluster(**times) as cluster:
        number, worker = begun(stopping, name)
        assert cluster.stop(timeout=60) == 0
        assert is_gone(worker)
    ended = stopping.json("get_build", str(number))
    assert (ended["status"], ended["failure_kind"]) == ("FAILED", "shutdown")
    with stopping.cluster(**times):
        mark = stopping.folder / "mark"
        wait_for(lambda: mark.exists() and mark.read_text())
    (again,) = [row for row in stopping.json("list_builds", name) if row["id"] != number]
    assert (again["attempt"], again["retry_of"]) == (2, number)


def test_a_second_signal_ends_the_workers_at_once(stopping: Site):
    with stopping.cluster(**SETTINGS | {"SHUTDOWN_SECONDS": 600}) as cluster:
        number, worker = begun(stopping, "stubborn")
        cluster.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: running builds may end" in cluster.output)
        cluster.process.send_signal(signal.SIGINT)
        assert cluster.process.wait(timeout=60) == 1
        wait_for(lambda: is_gone(worker) and cluster.processes() == [])
    with stopping.cluster(**SETTINGS):
        assert stopping.wait_for(number)["failure_kind"] == "worker_lost"


def test_a_build_that_fails_is_tried_until_it_succeeds(stopping: Site):
    with stopping.cluster(**SETTINGS):
        stopping.manage("build_job", "fail_twice", "--queue", check=True)
        wait_for(lambda: stopping.finished() == 3)
    third, second, first = every(stopping)
    assert [one["status"] for one in (first, second, third)] == ["FAILED", "FAILED", "SUCCESSFUL"]
    assert third["retval"] == "'well at last'"
    assert [one["attempt"] for one in (first, second, third)] == [1, 2, 3]
    assert {second["retry_of"], third["retry_of"]} == {first["id"]}


def every(site: Site) -> list[dict]:
    return site.json("list_builds", "fail_twice")
