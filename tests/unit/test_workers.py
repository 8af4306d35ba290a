"""A worker's identity: a reused process id, a zombie or another host is never taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from builds import workers
from builds.workers import WorkerIdentity, _start_stamp

ME = WorkerIdentity.current()


@pytest.fixture
def sleeper():
    """A process of ours, and its identity."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process, replace(ME, pid=process.pid, started=_start_stamp(process.pid))
        process.kill()


def test_it_is_written_and_read_again():
    assert WorkerIdentity.parse(str(ME)) == ME
    odd = replace(ME, host="a:b::c")
    assert WorkerIdentity.parse(str(odd)) == odd
    for text in ("", "no worker", "a:b:c:d", "a:b:-1:d"):
        assert WorkerIdentity.parse(text) is None


def test_this_process_is_here_and_alive():
    assert ME.is_here
    assert ME.is_alive()
    assert ME.pid == os.getpid()
    assert ME.label == f"process {os.getpid()} on {ME.host}"


def test_a_killed_process_is_gone(sleeper):
    _, worker = sleeper
    assert worker.is_alive()
    assert worker.kill()
    assert not worker.is_alive()
    assert worker.kill(), "it is gone: nothing to do"


def test_a_zombie_is_dead(sleeper):
    process, worker = sleeper
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not worker.is_alive()


def test_another_process_with_the_same_number_is_spared(sleeper):
    process, worker = sleeper
    other = replace(worker, started="1")
    assert not other.is_alive()
    assert other.kill(), "the worker itself is gone"
    assert process.poll() is None


def test_a_process_of_another_host_is_spared(sleeper):
    process, worker = sleeper
    other = replace(worker, host_id="0123456789ab")
    assert not other.is_here
    assert not other.kill()
    assert process.poll() is None


def test_a_forked_child_is_another_worker():
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(WorkerIdentity.current()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        told = WorkerIdentity.parse(answer.read())
    assert told is not None
    assert (told.pid, told.host_id) == (child, ME.host_id)
    assert WorkerIdentity.current() == ME


def test_a_start_that_could_not_be_read_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(workers._Own, "identity", None)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "_start_stamp", lambda _: None)
        assert WorkerIdentity.current().started == ""
    assert WorkerIdentity.current() == ME
