"""What stands in for django-q2's locks: flags, timers and a pipe that hold none."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from builds import cluster, flags
from builds.cluster import Results, Timer, WakeUps, WorkerPids
from builds.flags import Flag
from builds.queue import DatabaseBroker


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


# --- Room -----------------------------------------------------------------------------------------


class Waiting(threading.Thread):
    """A worker that waits for one wake-up."""

    def __init__(self, queue: WakeUps) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self.start()

    def run(self) -> None:
        self.queue.get()


def eventually(condition) -> None:
    while not condition():
        time.sleep(0.01)


@pytest.mark.timeout(60)
def test_a_cluster_has_room_for_as_many_messages_as_it_has_workers_that_wait():
    queue = WakeUps(2)
    assert queue.room() == 0
    queue.give_place(1)
    pid = forked(queue.get)
    eventually(lambda: queue.room() == 1)
    assert queue.wait_for_room(60)
    queue.put({})
    os.waitpid(pid, 0)
    assert queue.room() == 0
    assert not queue.wait_for_room(0.01)


@pytest.mark.timeout(60)
def test_the_place_of_a_worker_that_was_killed_while_it_waited_is_given_anew():
    queue = WakeUps(1)
    pid = forked(queue.get)
    eventually(lambda: queue.room() == 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    queue.give_place(0)
    assert queue.room() == 0


@pytest.mark.timeout(60)
def test_what_waits_in_the_pipe_takes_up_room():
    queue = WakeUps(2)
    worker = Waiting(queue)
    eventually(lambda: queue.room() == 1)
    queue.wake(3)  # the supervisor's
    worker.join()
    assert queue.room() == -2


def test_there_is_never_more_room_than_workers_that_wait(monkeypatch):
    """Not even at the moment when a worker takes a wake-up, and the pipe is empty again."""
    queue, seen = WakeUps(), []

    def read(end: int, count: int) -> bytes:
        seen.append(queue.room())
        data = os_read(end, count)
        seen.append(queue.room())
        return data

    os_read = os.read
    queue.put({})
    monkeypatch.setattr(os, "read", read)
    queue.get()
    assert seen == [-1, 0]


def test_a_worker_that_takes_a_wake_up_while_one_counts_is_not_counted(monkeypatch):
    queue = WakeUps()
    queue.put({})
    queue._waiting[0] = 1
    size = queue.qsize

    def taken_meanwhile() -> int:
        queue._waiting[0] = 0
        os.read(queue._out, 1)
        return size()

    monkeypatch.setattr(queue, "qsize", taken_meanwhile)
    assert queue.room() == 0


@pytest.mark.timeout(60)
def test_who_waits_for_room_hears_of_a_worker_that_begins_to_wait(monkeypatch):
    monkeypatch.setattr(cluster, "_DRAINED_SECONDS", 3600)
    queue = WakeUps()
    threading.Timer(0.2, Waiting, args=(queue,)).start()
    assert queue.wait_for_room(3600)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("flag", [flags.draining, flags.stopping])
def test_a_cluster_that_is_drained_or_stops_has_no_room(flag):
    queue = WakeUps()
    Waiting(queue)
    eventually(lambda: queue.room() == 1)
    flag.set()
    try:
        assert not queue.wait_for_room(0.01)
    finally:
        flag.clear()


@pytest.mark.timeout(60)
def test_a_worker_that_another_one_forestalls_goes_on_waiting(monkeypatch):
    queue, tries = WakeUps(), []

    def read(end: int, count: int) -> bytes:
        tries.append(end)
        if len(tries) == 1:
            raise BlockingIOError
        return os_read(end, count)

    os_read = os.read
    queue.put({})
    monkeypatch.setattr(os, "read", read)
    assert queue.get() != "STOP"
    assert len(tries) == 2


@pytest.mark.timeout(60)
def test_messages_are_taken_when_there_is_room_only(monkeypatch):
    asked = []

    class Noting(DatabaseBroker):
        def dequeue(self):
            asked.append("dequeue")
            return [(1, "message")]

        def overhear(self):
            asked.append("overhear")

    monkeypatch.setattr(cluster, "_ROOM_SECONDS", 0.01)
    queue = WakeUps()
    broker = cluster.PatientBroker(Noting("key"), queue)
    assert broker.list_key == "key"
    assert broker.dequeue() is None
    assert asked == ["overhear"]
    Waiting(queue)
    eventually(lambda: queue.room() == 1)
    assert broker.dequeue() == [(1, "message")]
    assert asked == ["overhear", "dequeue"]


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
