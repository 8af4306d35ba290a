"""What stands in for django-q2's locks: flags, timers and a pipe that hold none."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from builds import flags
from builds.cluster import Results, Timer, WakeUps, WorkerPids
from builds.flags import Flag


def forked(function) -> int:
    """Run `function` in a forked child; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    return pid


def test_a_flag_set_in_a_child_is_set_here():
    flag = Flag()
    assert not flag.wait(0.01)
    os.waitpid(forked(flag.set), 0)
    assert flag.is_set()
    assert flag.wait(0)
    flag.clear()
    assert not flag.is_set()


@pytest.mark.timeout(60)
def test_a_wait_without_end_ends_when_the_flag_is_set():
    flag = Flag()
    threading.Timer(0.1, flag.set).start()
    assert flag.wait()


def test_a_timer_is_shared_and_its_lock_is_none():
    timer = Timer("f", -1)
    with timer.get_lock(), timer.get_lock():
        os.waitpid(forked(lambda: setattr(timer, "value", 2.5)), 0)
    assert timer.value == 2.5


def test_a_wake_up_reaches_one_reader_and_says_what_to_do():
    queue = WakeUps()
    queue.put({"func": "any.function"})
    assert (queue.qsize(), queue.empty()) == (1, False)
    assert queue.get()["func"] == "builds.tasks.work"
    assert queue.empty()
    queue.put("STOP")
    assert queue.get() == "STOP"


@pytest.mark.timeout(60)
def test_a_reader_that_is_killed_while_it_waits_takes_nothing_along():
    """With the lock of multiprocessing's queue this hung for ever."""
    queue = WakeUps()
    for _ in range(20):
        pid = forked(queue.get)
        time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    queue.wake(1)
    assert queue.get() != "STOP"


def test_wake_ups_of_the_supervisor_do_not_pile_up():
    queue = WakeUps()
    for _ in range(100):
        queue.wake(3)
    assert queue.qsize() == 3


@pytest.mark.timeout(60)
def test_a_busy_cluster_takes_no_second_message():
    queue = WakeUps()
    queue.put({})
    second = threading.Thread(target=queue.put, args=({},))
    second.start()
    time.sleep(0.1)
    assert queue.qsize() == 1
    queue.get()
    second.join()
    assert queue.qsize() == 1


def test_results_are_forgotten_and_the_word_to_stop_is_not():
    queue = Results()
    queue.put({"success": True})
    assert queue.empty()
    queue.put("STOP")
    assert queue.get() == "STOP"


def test_process_ids_written_in_a_child_are_read_here():
    pids = WorkerPids(3)
    assert pids.read() == []
    os.waitpid(forked(lambda: pids.write([7, 8, 9])), 0)
    assert pids.read() == [7, 8, 9]
    pids.write([8])
    assert pids.read() == [8]
    pids.write([1, 2, 3, 4])
    assert pids.read() == [1, 2, 3], "never more than there is room for"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", [flags.draining.clear, flags.stopping.set])
def test_a_drained_cluster_holds_a_message_back_until_it_takes_work_again_or_stops(end):
    """Its workers would throw it away, and with it a wake-up of other clusters."""
    queue = WakeUps()
    flags.draining.set()
    try:
        putting = threading.Thread(target=queue.put, args=({"func": "any.function"},))
        putting.start()
        time.sleep(0.5)
        assert queue.empty()
        end()
        putting.join()
        assert not queue.empty()
    finally:
        flags.draining.clear()
        flags.stopping.clear()


def test_work_is_taken_unless_the_cluster_is_drained_or_stops():
    assert flags.takes_work()
    for flag in (flags.draining, flags.stopping):
        flag.set()
        assert not flags.takes_work()
        flag.clear()
