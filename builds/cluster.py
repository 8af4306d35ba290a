"""django-q2's cluster, made to survive the death of any of its processes.

django-q2 hands locks to processes that may be killed: the worker that waits for a task holds the
lock of the task queue, a worker that ends a task holds that of its timer, a sentinel that waits for
its stop holds a condition. A lock dies with its holder, and all others wait for it for ever. What
stands in for queue, timer and event here has no lock: a wake-up is one byte in a pipe, which the
kernel gives to exactly one reader, and a flag is one byte of shared memory.

The processes end with the one that started them, and only the main process acts on signals: a
service manager sends SIGTERM to every process of a service at once, of which django-q2's sentinel
would die and leave its workers behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys
import termios
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import count
from multiprocessing.sharedctypes import RawArray, RawValue
from time import monotonic, sleep
from types import FrameType
from typing import Any

import django_q.cluster
from django_q.brokers import Broker
from django_q.cluster import Cluster, Sentinel, get_mp_context
from django_q.conf import Conf
from django_q.pusher import pusher
from django_q.worker import worker

from builds import flags
from builds.flags import Flag
from builds.queue import WORK, DatabaseBroker

_STOP = "STOP"  # django-q2's word for it
_ROOM_SECONDS = 0.5  # for so long the pusher waits for room before it looks whether it has to end
_DRAINED_SECONDS = 0.2  # between two looks whether a drained cluster takes messages again
_PARENT_SECONDS = 1.0  # between two looks at the parent, where the kernel does not watch it
_PR_SET_PDEATHSIG = 1


# --- Without locks --------------------------------------------------------------------------------


class Timer:
    """A number that the sentinel and one worker share; `get_lock` is there for their sake."""

    def __init__(self, _typecode: str, value: float) -> None:
        self._number: Any = RawValue(ctypes.c_double, value)

    @property
    def value(self) -> float:
        """The number."""
        return float(self._number.value)

    @value.setter
    def value(self, value: float) -> None:
        self._number.value = value

    def get_lock(self) -> AbstractContextManager[None]:
        """Return no lock."""
        return nullcontext()


class WakeUps:
    """The queue between the pusher and the workers: one byte for each wake-up.

    All wake-ups are alike, so nothing of a message has to come through. Each worker shows by a byte
    of shared memory that it waits. It takes it back before it takes a wake-up, so that `room`
    never says that there is more than there is.
    """

    def __init__(self, workers: int = 1) -> None:
        self._out, self._in = os.pipe()
        # A worker that begins to wait says so here.
        self._heard, self._say = os.pipe()
        for end in (self._out, self._heard, self._say):
            os.set_blocking(end, False)
        self._waiting: Any = RawArray(ctypes.c_byte, workers)
        self._place = 0

    def give_place(self, place: int) -> None:
        """Give the worker that this process starts next a place among them."""
        self._place = place
        self._waiting[place] = 0

    def put(self, task: object) -> None:
        """Pass a message of the broker's on; or django-q2's word to stop, at once."""
        if task == _STOP:
            os.write(self._in, b"S")
            return
        # It was on its way when the cluster was drained: its workers would throw it away.
        while flags.draining.is_set() and not flags.stopping.is_set():
            sleep(_DRAINED_SECONDS)
        os.write(self._in, b"W")

    def wake(self, times: int) -> None:
        """Pass on so many wake-ups, unless some wait already: then every worker is busy."""
        if self.empty():
            os.write(self._in, b"W" * times)

    def get(self) -> dict[str, Any] | str:
        """Wait for a wake-up, or for the word to stop."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while True:
            self._waiting[self._place] = 1
            with suppress(BlockingIOError):  # full: the pusher has enough to hear
                os.write(self._say, b"w")
            poll.poll()
            self._waiting[self._place] = 0
            with suppress(BlockingIOError):  # another worker was quicker
                if os.read(self._out, 1) == b"W":
                    return {"id": "", "name": "wake-up", "func": WORK, "args": (), "kwargs": {}}
                return _STOP

    def room(self) -> int:
        """Return how many workers wait for a wake-up that is not there yet."""
        there = self.qsize()  # first: between these two a worker may take one
        return int(sum(self._waiting)) - there

    def wait_for_room(self, seconds: float) -> bool:
        """Wait until a worker may take one more; return whether any may."""
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        deadline = monotonic() + seconds
        while self.room() <= 0 or not flags.takes_work():
            left = deadline - monotonic()
            if left <= 0:
                return False
            poll.poll(min(left, _DRAINED_SECONDS) * 1000)
            with suppress(BlockingIOError):
                os.read(self._heard, 4096)
        return True

    def qsize(self) -> int:
        """Return how many wait."""
        waiting = fcntl.ioctl(self._out, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(waiting, sys.byteorder)

    def empty(self) -> bool:
        """Whether none waits."""
        return self.qsize() == 0

    def close(self) -> None:
        """Do nothing: every process that has the pipe ends with it."""

    def join_thread(self) -> None:
        """Do nothing: there is no thread."""


class Results(WakeUps):
    """The queue from the workers to django-q2's monitor, which gets nothing but the word to stop.

    A build's outcome is in the database before its wake-up ends.
    """

    def put(self, task: object) -> None:
        """Forget a result."""
        if task == _STOP:
            super().put(task)


class PatientBroker:
    """The broker, for a pusher that takes a message only when a worker waits for one.

    So a cluster whose workers are all busy, or which is drained, leaves them to the others.
    """

    def __init__(self, broker: Broker, wake_ups: WakeUps) -> None:
        self._broker = broker
        self._wake_ups = wake_ups
        self.list_key = broker.list_key

    def dequeue(self) -> Any:
        """Take a message if there is room for it; else, or if there is none, wait a moment."""
        if self._wake_ups.wait_for_room(_ROOM_SECONDS):
            return self._broker.dequeue()
        if isinstance(self._broker, DatabaseBroker):
            self._broker.overhear()
        return None

    def fail(self, task_id: object) -> None:
        """Give up a message that can't be read."""
        self._broker.fail(task_id)


class WorkerPids:
    """The process ids of the workers, which the sentinel writes and the main process reads."""

    def __init__(self, most: int) -> None:
        self._numbers: Any = RawArray(ctypes.c_int, most)

    def write(self, pids: Sequence[int]) -> None:
        """Keep these."""
        for place in range(len(self._numbers)):
            self._numbers[place] = pids[place] if place < len(pids) else 0

    def read(self) -> list[int]:
        """Return those kept last. Some may be gone."""
        return [pid for pid in self._numbers if pid]


# --- Processes ------------------------------------------------------------------------------------


def _take_no_notice(_number: int, _frame: FrameType | None) -> None:
    """Stand in for SIG_IGN, which the programs that a job starts would inherit."""


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as `parent`, which started it, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_PARENT_SECONDS)
    os._exit(1)


def _run_child(parent: int, target: Callable[..., object], *args: object) -> None:
    end_with_parent(parent)
    target(*args)


class HealingSentinel(Sentinel):
    """The sentinel, which starts anew whichever of its processes died."""

    # Set by the main process before it forks the sentinel.
    wake_ups: WakeUps
    worker_pids: WorkerPids
    main_process: int

    def start(self) -> None:
        """Start the workers."""
        end_with_parent(self.main_process)
        signal.signal(signal.SIGTERM, _take_no_notice)
        ours: Any = self
        ours.task_queue = self.wake_ups
        ours.result_queue = Results()
        ours.event_out = Flag()
        # Not `super().start()`: it dies of a broker that does not answer, and ours need none.
        self.spawn_cluster()  # type: ignore[no-untyped-call]
        self.guard()  # type: ignore[no-untyped-call]

    def spawn_pusher(self) -> Any:
        """Start the process that takes messages from the broker."""
        broker = PatientBroker(self.broker, self.wake_ups)
        return self.spawn_process(pusher, self.wake_ups, self.event_out, broker)

    def spawn_process(self, target: Callable[..., object], *args: Any) -> Any:
        """Start one of its processes, which ends with it."""
        child = get_mp_context().Process(
            target=partial(_run_child, os.getpid(), target),
            args=args,
            name=f"Process-{uuid.uuid4().hex}",
            daemon=target is not worker or Conf.DAEMONIZE_WORKERS,
        )
        if target is worker:
            taken = {one.place for one in self.pool}
            child.place = next(place for place in count() if place not in taken)
            self.wake_ups.give_place(child.place)
            child.timer = args[2]  # where the sentinel looks for it
            self.pool.append(child)
        child.start()
        self.worker_pids.write([one.pid for one in self.pool if one.pid])
        return child


class HealingCluster(Cluster):
    """A cluster with our sentinel and our stand-ins for what holds locks."""

    def __init__(self) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        super().__init__()
        for number, handler in handlers.items():
            signal.signal(number, handler)  # it takes them for itself
        self.wake_ups = WakeUps(Conf.WORKERS)
        self.worker_pids = WorkerPids(Conf.WORKERS)
        HealingSentinel.wake_ups = self.wake_ups
        HealingSentinel.worker_pids = self.worker_pids
        HealingSentinel.main_process = os.getpid()
        # Where django-q2 looks these names up; it has no setting for them.
        names = {"Sentinel": HealingSentinel, "Event": Flag, "Value": Timer}
        for name, ours in names.items():
            setattr(django_q.cluster, name, ours)

    def is_alive(self) -> bool:
        """Whether the sentinel lives."""
        return self.sentinel is not None and self.sentinel.is_alive()

    def ask_to_stop(self) -> None:
        """Have the sentinel take no more work and end when its workers have ended."""
        if self.stop_event is not None:
            self.stop_event.set()
