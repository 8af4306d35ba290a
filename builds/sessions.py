"""The builds that run in this process, each with its buffers."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from builds.excerpts import LogExcerpt
from builds.logs import LogBuffer
from builds.progress import MAX_NODES, ProgressBuffer
from jobcontrol import globals as context_state
from jobs.redaction import Redactor


class Cause(StrEnum):
    """Why a build is interrupted."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease_lost"


@dataclass(eq=False)
class Interruption:
    """What a session is interrupted for; `raised` once its function has got the exception."""

    cause: Cause
    text: str
    raised: bool = False


@dataclass(eq=False)
class BuildSession:
    """A running build as its process sees it."""

    build_id: int
    token: uuid.UUID
    redactor: Redactor
    logs: LogBuffer = field(init=False)
    progress: ProgressBuffer = field(default_factory=ProgressBuffer)
    # The deletion whose cleanup this is, if it is no run of the build.
    deletion_id: int | None = None
    # Where the log of such a cleanup goes.
    excerpt: LogExcerpt | None = None
    # Seconds after which its function is interrupted.
    timeout: float | None = None
    # Whether a failure is tried again if the job says so: not what was run in place.
    retry: bool = True
    # Whether other builds may wait for this one.
    in_plan: bool = False
    # Its job, if that has a `concurrency`: then others may wait for its end.
    limited_job: str | None = None
    # Past so many rows of its log only WARNING and up are stored; 0: no cap.
    log_rows: int = 0
    opened: float = field(default_factory=monotonic)
    interruption: Interruption | None = None
    # When it was found that someone else took the lease, as time.monotonic() counts: nothing is
    # written any more.
    lost_at: float | None = None

    @property
    def lost(self) -> bool:
        """Whether the lease was taken by someone else."""
        return self.lost_at is not None

    def __post_init__(self) -> None:
        """Make the log, and have it say when progress is dropped."""
        self.logs = LogBuffer(self.redactor, self.log_rows)
        self.progress.full = self._say_progress_is_full

    def note_interruption(self, cause: Cause, text: str) -> None:
        """Have its function interrupted, as soon as that can be; the first cause counts."""
        if self.interruption is None:
            self.interruption = Interruption(cause, text)
            here.is_interrupted = True

    def _say_progress_is_full(self) -> None:
        text = f"Progress of more than {MAX_NODES:,} paths was reported: further paths are dropped."
        self.logs.say(logging.WARNING, text)


_context = context_state.get
_open: dict[int, BuildSession] = {}  # the outermost first


class _Process:
    """What every line of a log asks, so that no call is needed."""

    is_forked_child = False
    # Whether a function was to be interrupted since there was no build here.
    is_interrupted = False


here = _Process()


def is_forked_child() -> bool:
    """Whether this is a process that a job forked: its observations are not recorded."""
    return here.is_forked_child


def enter(session: BuildSession) -> None:
    """Make the session findable by its build's id."""
    _open[session.build_id] = session


def leave(session: BuildSession) -> None:
    """Forget the session."""
    _open.pop(session.build_id, None)
    session.progress.close()
    if not _open:
        here.is_interrupted = False
        context_state.expect_no_reports()


def find(build_id: int) -> BuildSession | None:
    """Return the session of a build that runs in this process."""
    return _open.get(build_id)


def every() -> list[BuildSession]:
    """Return the sessions of this process, the outermost first."""
    return list(_open.values())


def current() -> BuildSession | None:
    """Return the session of the build that the calling code belongs to."""
    context = _context()
    return None if context is None else _open.get(context.build_id)


def current_buffer() -> LogBuffer | None:
    """Return the log buffer of that build: for every line of a log."""
    context = _context()
    session = None if context is None else _open.get(context.build_id)
    return None if session is None else session.logs


def is_nested(session: BuildSession) -> bool:
    """Whether the session's build was started inside another one."""
    return next(iter(_open.values())) is not session


def forget_all() -> None:
    """Forget every session: for a forked child, whose parent records."""
    here.is_forked_child = True
    for session in _open.values():
        session.progress.close()
    context_state.expect_no_reports()
    _open.clear()
