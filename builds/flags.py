"""Flags that the processes of a cluster share.

One byte of shared memory each, and no lock: a lock dies with the process that holds it.
"""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawValue
from time import monotonic, sleep
from typing import Any

_LOOK_SECONDS = 0.05


class Flag:
    """What `multiprocessing.Event` is for; forked children share it."""

    def __init__(self) -> None:
        self._byte: Any = RawValue(ctypes.c_byte, 0)

    def set(self) -> None:
        """Set it."""
        self._byte.value = 1

    def clear(self) -> None:
        """Take it back."""
        self._byte.value = 0

    def is_set(self) -> bool:
        """Whether any process has set it."""
        return bool(self._byte.value)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, `timeout` seconds at most; return whether it is."""
        deadline = None if timeout is None else monotonic() + timeout
        while not self.is_set():
            left = _LOOK_SECONDS if deadline is None else deadline - monotonic()
            if left <= 0:
                return False
            sleep(min(left, _LOOK_SECONDS))
        return True


stopping = Flag()
"""Workers claim nothing any more."""

draining = Flag()
"""Workers claim nothing until it is taken back; the cluster itself goes on."""

interrupting = Flag()
"""What still runs in a worker is interrupted: the time to end by itself is over."""


def takes_work() -> bool:
    """Whether workers of this cluster may take builds and deletions."""
    return not (stopping.is_set() or draining.is_set())
