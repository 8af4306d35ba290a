"""Jobs that never end by themselves, each busy or waiting in its own way.

Each is called with a folder. It makes NUMBER.begun there (the number of its build) when it is
about to go on without end, and NUMBER.tidy when a `finally` block of its own has run.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import json
import logging
import multiprocessing
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import connection

from jobcontrol.globals import current_app, current_build

logger = logging.getLogger(__name__)
LONG = 3600


@contextmanager
def noted(folder: str) -> Iterator[None]:
    """Note that the job is about to go on for ever, and that it tidied up."""
    number = current_build.id
    try:
        (Path(folder) / f"{number}.begun").touch()
        yield
    finally:
        (Path(folder) / f"{number}.tidy").touch()


def _again(step: Callable[[], object]) -> None:
    while True:
        step()


# --- Busy -----------------------------------------------------------------------------------------


def compute() -> None:
    _again(lambda: sum(range(1000)))


class _Slow:
    """Whatever is raised in its finalizer goes nowhere."""

    def __del__(self) -> None:
        for _ in range(100_000):
            pass


def discard() -> None:
    while True:
        _Slow()
        for _ in range(20_000):
            pass


def retry() -> None:
    def fail() -> None:
        try:
            sum(range(100))
            raise ValueError("again")
        except Exception:
            return

    while True:
        try:
            fail()
        except Exception:
            continue


def read_json() -> None:
    text = json.dumps({str(number): [number] * 10 for number in range(500)})
    _again(lambda: json.dumps(json.loads(text), indent=1))


def match() -> None:
    _again(lambda: [re.findall(r"\w+@\w+", f"some{number}@text " * 20) for number in range(50)])


def import_modules() -> None:
    names = ("colorsys", "sndhdr", "this_is_missing", "chunk", "wave")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            for name in names:
                sys.modules.pop(name, None)
                with suppress(ImportError):
                    importlib.import_module(name)


def query() -> None:
    with connection.cursor() as cursor:
        _again(lambda: cursor.execute("SELECT count(*) FROM builds_build"))


# --- Busy in our own code -------------------------------------------------------------------------


def log() -> None:
    _again(lambda: logger.info("a line with %s", "an argument"))


def log_big() -> None:
    text = "big " * 50_000
    _again(lambda: logger.info("%s", text))


def log_error() -> None:
    while True:
        try:
            int("x")
        except ValueError:
            logger.exception("an error")


def log_with_handler() -> None:
    stream = open(os.devnull, "w")  # noqa: SIM115 - open as long as the job
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        _again(lambda: logger.warning("a line"))
    finally:
        logger.removeHandler(handler)
        stream.close()


def log_elsewhere() -> None:
    """Keep to a handler of its own: all in the code of `logging`, next to no code of the job."""
    private = logging.Logger("private")
    with open(os.devnull, "w") as stream:
        private.addHandler(logging.StreamHandler(stream))
        _again(lambda: private.warning("a line"))


def ask() -> None:
    _again(lambda: current_app.get_build(current_build.id))


def log_left_out() -> None:
    logger.setLevel(logging.INFO)
    _again(lambda: logger.debug("nobody sees this"))


def print_lines() -> None:
    _again(lambda: print("a line"))


def print_pieces() -> None:
    _again(lambda: print(".", end=""))


def warn() -> None:
    warnings.simplefilter("always")
    _again(lambda: warnings.warn("take care", stacklevel=1))


def report() -> None:
    number = 0
    while True:
        number += 1
        current_app.report_progress(("a", "b"), number, 0)


def log_and_report() -> None:
    number = 0
    while True:
        number += 1
        logger.info("line %s", number)
        current_app.report_progress(None, number, 0)


# --- Waiting --------------------------------------------------------------------------------------


def sleep() -> None:
    time.sleep(LONG)


def sleep_often() -> None:
    _again(lambda: time.sleep(0.001))


def lock() -> None:
    taken = threading.Lock()
    with taken:
        taken.acquire()


def event() -> None:
    threading.Event().wait()


def event_polled() -> None:
    never = threading.Event()
    _again(lambda: never.wait(0.001))


def condition() -> None:
    never = threading.Condition()
    with never:
        never.wait_for(lambda: False)


def queue_get() -> None:
    queue.Queue().get()


def simple_queue_get() -> None:
    queue.SimpleQueue().get()


def socket_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.recv(1)


def pipe_read() -> None:
    reading, writing = os.pipe()
    try:
        os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)


def child() -> None:
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({LONG})"], check=True)


def child_output() -> None:
    command = [sys.executable, "-c", f"import time; time.sleep({LONG})"]
    subprocess.run(command, check=True, capture_output=True)


# --- With threads and processes -------------------------------------------------------------------


@contextmanager
def _stop() -> Iterator[threading.Event]:
    """An event that is set when the block ends: for threads that ask now and then."""
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def thread_join() -> None:
    with _stop() as stop:
        thread = threading.Thread(target=stop.wait)
        thread.start()
        thread.join()


def thread_prints() -> None:
    def speak(stop: threading.Event) -> None:
        while not stop.is_set():
            print("a line")

    with _stop() as stop:
        thread = threading.Thread(target=speak, args=[stop])
        thread.start()
        thread.join()


def futures_result() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool, _stop() as stop:
        pool.submit(stop.wait).result()


def futures_wait() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool, _stop() as stop:
        concurrent.futures.wait([pool.submit(stop.wait) for _ in range(8)])


def futures_map() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool, _stop() as stop:
        list(pool.map(lambda _: stop.wait(), range(8)))


def pool_exit() -> None:
    """Wait for a pool at the end of its `with`, as is usual."""
    with _stop() as stop, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(stop.wait)


def pool_short_tasks() -> None:
    """Wait in the body of a pool's `with` for one of many tasks, each of which is short."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while True:
            list(pool.map(time.sleep, [0.05] * 20))


def pool_left() -> None:
    """Wait, at the end of a pool's `with`, for threads that never end."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(time.sleep, LONG)


def pool_body() -> None:
    """Wait in the body; the end of the `with` then waits for threads that never end."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [LONG] * 2))


def process_join() -> None:
    process = multiprocessing.Process(target=time.sleep, args=[LONG])
    process.start()
    try:
        process.join()
    finally:
        process.kill()


def process_pool() -> None:
    with multiprocessing.Pool(2) as pool:
        pool.map(time.sleep, [LONG] * 2)


def nested() -> None:
    current_app.build_job("compute_alone")


PLAIN: tuple[Callable[[], None], ...] = (
    compute,
    discard,
    retry,
    read_json,
    match,
    import_modules,
    query,
    log,
    log_big,
    log_error,
    log_with_handler,
    log_elsewhere,
    log_left_out,
    ask,
    print_lines,
    print_pieces,
    warn,
    report,
    log_and_report,
    sleep,
    sleep_often,
    lock,
    event,
    event_polled,
    condition,
    queue_get,
    simple_queue_get,
    socket_read,
    pipe_read,
    child,
    child_output,
    thread_join,
    thread_prints,
    futures_result,
    futures_wait,
    futures_map,
    pool_exit,
    pool_short_tasks,
    process_join,
    process_pool,
    nested,
)
# Not among NAMES. The first ends soon and leaves threads behind, which keep its worker from ending;
# the second is interrupted in time, waits again, gets no second exception and is killed.
APART = (pool_left, pool_body)
_BY_NAME = {function.__name__: function for function in (*PLAIN, *APART)}
OTHERS = ("generate", "generate_later", "coroutine", "coroutine_busy", "to_thread")
NAMES = (*(function.__name__ for function in PLAIN), *OTHERS)


def run(folder: str, name: str) -> None:
    """Run one of the plain ones."""
    with noted(folder):
        _BY_NAME[name]()


def generate(folder: str) -> Iterator[None]:
    with noted(folder):
        while True:
            yield time.sleep(0.01)


async def generate_later(folder: str) -> AsyncIterator[None]:
    with noted(folder):
        while True:
            yield await asyncio.sleep(0.01)


async def coroutine(folder: str) -> None:
    with noted(folder):
        await asyncio.sleep(LONG)


async def coroutine_busy(folder: str) -> None:
    with noted(folder):
        while True:
            await asyncio.sleep(0)


async def to_thread(folder: str) -> None:
    with noted(folder):
        while True:
            await asyncio.to_thread(time.sleep, 0.05)


def config(folder: Path) -> str:
    """Return the lines of `jobs:` for all of them."""
    module = __name__
    lines = [
        f"  - {{id: {name}, function: '{module}:run', args: ['{folder}', {name}]}}"
        for name in _BY_NAME
    ]
    lines += [f"  - {{id: {n}, function: '{module}:{n}', args: ['{folder}']}}" for n in OTHERS]
    lines.append(f"  - {{id: compute_alone, function: '{module}:compute'}}")
    return "\n".join(["jobs:", *lines]) + "\n"
