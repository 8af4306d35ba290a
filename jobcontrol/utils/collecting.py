"""Python's garbage collector, paused while many objects are made that stay."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_paused = False


@contextmanager
def collector_paused() -> Iterator[None]:
    """Look for no garbage in this block, nor in other threads meanwhile.

    With each quarter more objects the collector walks through all of them, for nothing where they
    stay: of loading 10,000 jobs that is half the time. Where a second thread comes into such a
    block, it is over for both when the first one leaves: slower, and nothing worse.
    """
    global _paused  # noqa: PLW0603 - the collector is one for the whole process
    if not gc.isenabled():
        yield
        return
    _paused = True
    gc.disable()
    try:
        yield
    finally:
        _resume()


def _resume() -> None:
    global _paused  # noqa: PLW0603
    if _paused:
        _paused = False
        gc.enable()


# A child forked while another thread is in such a block has no thread that would leave it.
os.register_at_fork(after_in_child=_resume)
