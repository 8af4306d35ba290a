"""Who runs a build: a process, named so that nobody mistakes another one for it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = "/proc/self/ns/pid"


@dataclass(frozen=True)
class WorkerIdentity:
    """A process by host, process id and start stamp; a reused process id is another worker.

    `host_id` tells hosts (and containers, which may share a host name) apart: process ids mean
    something only where it is equal.
    """

    host: str
    host_id: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> WorkerIdentity:
        """Return the identity of this process."""
        if _Own.identity is None:
            pid = os.getpid()
            found = cls(_host_name(), _host_id(), pid, _start_stamp(pid) or "")
            if not found.started:
                return found  # asked again the next time
            _Own.identity = found
        return _Own.identity

    @classmethod
    def parse(cls, text: str) -> WorkerIdentity | None:
        """Return the identity that `str()` gave; None for anything else."""
        parts = text.rsplit(":", 3)
        if len(parts) != 4 or not parts[2].isdecimal():
            return None
        return cls(parts[0], parts[1], int(parts[2]), parts[3])

    def __str__(self) -> str:
        return f"{self.host}:{self.host_id}:{self.pid}:{self.started}"

    @property
    def label(self) -> str:
        """Return the name for people."""
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether its process id means something on this host."""
        return self.host_id == _host_id()

    def is_alive(self) -> bool:
        """Whether the very process still runs (only to be asked where `is_here`)."""
        return _start_stamp(self.pid) == self.started

    def kill(self) -> bool:
        """Kill the process and its children; return whether it is gone.

        Does nothing on another host, or when the process id belongs to another process by now.
        """
        if not self.is_here:
            return False
        if not self.is_alive():
            return True
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return True
        for member in family:
            _kill(member)
        psutil.wait_procs(family, timeout=3)
        return not self.is_alive()


class _Own:
    """The identity of this process, which is asked for with each build."""

    identity: WorkerIdentity | None = None


def _forget_own() -> None:
    _Own.identity = None


os.register_at_fork(after_in_child=_forget_own)


def describe(pids: Iterable[int]) -> list[dict[str, Any]]:
    """Return of each of these processes of this host `pid`, `started`, `seconds` and `memory`.

    `started` is the stamp of its identity, `seconds` for how long it runs (a clock of its host is
    no clock of others), `memory` its resident bytes; both None where that is not known. Those that
    are gone are left out.
    """
    found = []
    for pid in pids:
        started = _start_stamp(pid)
        if started is not None:
            found.append({"pid": pid, "started": started, **_usage(pid)})
    return found


def _usage(pid: int) -> dict[str, Any]:
    try:
        process = psutil.Process(pid)
        seconds = max(round(time.time() - process.create_time()), 0)
        return {"seconds": seconds, "memory": process.memory_info().rss}
    except psutil.Error:
        return {"seconds": None, "memory": None}


def kill_children() -> set[int]:
    """Kill all that this process started, and what that started in turn; return their ids."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        _kill(child)
    psutil.wait_procs(children, timeout=3)
    return {child.pid for child in children}


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        # Another user's process: its lease is over all the same, its token is worthless.
        return


@cache
def _host_name() -> str:
    return socket.gethostname()


@cache
def _host_id() -> str:
    """Return a digest of this boot of this host and of the process-id namespace."""
    try:
        seen = BOOT_ID.read_text(encoding="ascii") + str(Path(PID_NAMESPACE).readlink())
    except OSError:
        seen = f"{socket.gethostname()} {psutil.boot_time():.0f}"
    return hashlib.sha256(seen.encode()).hexdigest()[:12]


def _start_stamp(pid: int) -> str | None:
    """Return when the process started, None if it is gone or a zombie.

    On Linux in clock ticks since boot, which a change of the wall clock can't move.
    """
    if sys.platform != "linux":
        return _start_time(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces; state is the first field after it, start the 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _start_time(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None
