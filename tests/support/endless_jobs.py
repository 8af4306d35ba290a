"""Jobs that go on until they are stopped, each in its own way."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from jobcontrol.exceptions import BuildInterrupted
from jobcontrol.globals import current_app

logger = logging.getLogger(__name__)

# What the jobs of this process told; tests clear it.
told: list[str] = []
going = threading.Event()


def sleep() -> None:
    """Sleep in one call, and tidy up slowly."""
    going.set()
    try:
        time.sleep(600)
    finally:
        time.sleep(1.5)
        told.append("tidied up")


def work() -> None:
    """Compute, in a loop that takes no notice of errors."""
    going.set()
    while True:
        try:
            sum(range(1000))
        except Exception:
            told.append("swallowed")


class _Slow:
    def __del__(self) -> None:
        for _ in range(200_000):
            pass


def discard() -> None:
    """Spend nine tenths of the time in finalizers, from which no exception comes out."""
    going.set()
    while True:
        _Slow()
        for _ in range(20_000):
            pass


def log() -> None:
    """Spend the time in our own log handler and progress reports."""
    number = 0
    while True:
        number += 1
        logger.info("line %s", number)
        current_app.report_progress(None, number, 0)
        going.set()


def wait_for_lock() -> None:
    """Wait for what never comes."""
    going.set()
    threading.Event().wait()


async def coroutine() -> None:
    """Wait in a loop of events."""
    import asyncio

    going.set()
    try:
        await asyncio.sleep(600)
    finally:
        told.append("tidied up")


def generate() -> Any:
    """Yield for ever."""
    going.set()
    while True:
        yield time.sleep(0.01)


def end_with(what: str) -> str:
    """Answer to being stopped with an error of its own, or by returning a value."""
    going.set()
    try:
        time.sleep(600)
    except BaseException as error:
        if what == "value":
            return "a value"
        raise ValueError("my own error") from error
    return "never"


def run_inner(inner: str) -> None:
    """Run another build inside, and go on after it."""
    current_app.build_job(inner)
    told.append("went on after the inner build")


def interrupt_itself() -> None:
    """Raise what only an interruption from outside should."""
    raise BuildInterrupted("I stop myself")


def fail(text: str = "as ever") -> None:
    """Fail."""
    raise ValueError(text)
