"""Stopping a job's function from outside: an exception of ours raised in the main thread.

The recorder's thread decides (a cancel, a timeout, a shutdown, a lease that was lost) and sends a
signal; the handler, which Python runs in the main thread, raises. It does so only while the main
thread is in code of the job, never within our own: there it does nothing, and the recorder sends
the signal again, many times a second; what a job logs or prints with raises at its own end as well.
The exception comes once for each build, so that `finally` blocks are not interrupted in turn; once
more where a finalizer of some object was running, from which nothing comes out. What
holds the interpreter in C code, or goes on all the same, is killed by the supervisor when the grace
is over.
"""

from __future__ import annotations

import dis
import logging
import os
import signal
import sys
import threading
from concurrent.futures import _base as futures
from pathlib import Path
from types import FrameType

from builds import calling, sessions
from builds.sessions import BuildSession, Cause
from jobcontrol.exceptions import BuildInterrupted

# One that no job is likely to use for itself.
SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR1)

_OURS = str(Path(__file__).parent) + os.sep
_INTO_THE_JOB = calling.__file__
# Files of the library that take locks in Python code, and which functions in them may be
# interrupted all the same. In `threading`: where a wait for others may be endless (`join` from
# Python 3.13 on). In `logging`: what takes no lock itself, and the `try` after a lock was taken. A
# job that logs to handlers of its own lets other threads run only there, so that the signal comes
# there each time.
_WAITS = {"wait", "_wait_for_tstate_lock", "join"}
_MAKES_RECORDS = {"_log", "makeRecord", "findCaller", "__init__", "getMessage"}
_WRITES_RECORDS = {"callHandlers", "emit", "format", "formatMessage", "formatTime"}
_GUARDS_LOCK = {"handle", "flush"}
_TAKES_LOCKS: dict[str, set[str]] = {
    threading.__file__: _WAITS,
    logging.__file__: _MAKES_RECORDS | _WRITES_RECORDS,
    futures.__file__: set(),
    "<frozen importlib._bootstrap>": set(),
}


def install() -> None:
    """Make the signal ours, if this is the main thread. Its default action ends the process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(SIGNAL, _handle)
    if sys.unraisablehook is not _not_raised:
        _Hook.before = staticmethod(sys.unraisablehook)
        sys.unraisablehook = _not_raised


def interrupt(session: BuildSession, cause: Cause, text: str) -> None:
    """Interrupt the session's function; the first cause counts."""
    session.note_interruption(cause, text)
    send_again(session)


def is_due(session: BuildSession) -> bool:
    """Whether the session's function is to be interrupted and has not got its exception yet."""
    return session.interruption is not None and not session.interruption.raised


def send_again(session: BuildSession) -> None:
    """Send the signal if the session's function has not got its exception yet."""
    main = threading.main_thread()
    if not is_due(session) or main.ident is None:
        return
    # A job may have taken the signal; then it does not hear, and is killed later.
    if signal.getsignal(SIGNAL) is _handle:
        signal.pthread_kill(main.ident, SIGNAL)


def raise_if_due() -> None:
    """Raise what the job's function is to get; for the end of what the job called of ours.

    The signal hardly ever meets a job that logs without a pause in code of its own.
    """
    if not sessions.here.is_interrupted:
        return
    session = _next_to_raise()
    if session is None or threading.current_thread() is not threading.main_thread():
        return
    if _is_called_by_job(sys._getframe(2)):
        _raise(session)


def _handle(_number: int, frame: FrameType | None) -> None:
    session = _next_to_raise()
    if session is not None and _is_in_job(frame):
        _raise(session)


class _Hook:
    before = staticmethod(sys.unraisablehook)


def _not_raised(unraisable: sys.UnraisableHookArgs) -> None:
    """Have an interruption raised again that met a finalizer, where Python lets none through."""
    error = unraisable.exc_value
    number = error.build_id if isinstance(error, BuildInterrupted) else None
    session = None if number is None else sessions.find(number)
    if session is None or session.interruption is None:
        _Hook.before(unraisable)
    else:
        session.interruption.raised = False


def _next_to_raise() -> BuildSession | None:
    for session in sessions.every():
        if is_due(session):
            return session
    return None


def _raise(session: BuildSession) -> None:
    wanted = session.interruption
    assert wanted is not None
    wanted.raised = True
    raise BuildInterrupted(wanted.text, build_id=session.build_id)


def _takes_a_lock(frame: FrameType) -> bool:
    code = frame.f_code
    harmless = _TAKES_LOCKS.get(code.co_filename)
    if harmless is None or code.co_name in harmless:
        return False
    is_guarded = code.co_filename == logging.__file__ and code.co_name in _GUARDS_LOCK
    return not (is_guarded and _is_in_try(frame))


def _is_in_try(frame: FrameType) -> bool:
    """Whether an exception raised here goes through an `except` or `finally` of this function."""
    entries = dis._parse_exception_table(frame.f_code)  # type: ignore[attr-defined]
    return any(entry.start <= frame.f_lasti < entry.end for entry in entries)


def _is_in_job(frame: FrameType | None) -> bool:
    """Whether an exception may be raised here, in code of the job.

    Not while a lock is just being taken in Python code of the library, where an exception would
    leave it taken for ever: of a logging handler, of an event, of a future, of an import.
    """
    return frame is not None and not _takes_a_lock(frame) and _is_called_by_job(frame)


def _is_called_by_job(frame: FrameType | None) -> bool:
    """Whether the innermost code of ours that is being run is that which called the job."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_OURS):
            return name == _INTO_THE_JOB
        frame = frame.f_back
    return False
