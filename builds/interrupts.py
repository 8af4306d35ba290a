"""Stopping a job's function from outside: an exception of ours raised in the main thread.

The recorder's thread decides (a cancel, a timeout, a shutdown, a lease that was lost) and sends a
signal; the handler, which Python runs in the main thread, raises. It does so only while the main
thread is in code of the job, never within our own: there it does nothing, and the recorder sends
the signal again; what a job logs or prints with raises at its own end as well. The exception comes
once for each build, so that `finally` blocks are not interrupted in turn. What holds the
interpreter in C code, or goes on all the same, is killed by the supervisor when the grace is over.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from builds import calling, sessions
from builds.sessions import BuildSession, Cause, Interruption
from jobcontrol.exceptions import BuildInterrupted

# One that no job is likely to use for itself.
SIGNAL = getattr(signal, "SIGRTMIN", signal.SIGUSR1)

_OURS = str(Path(__file__).parent) + os.sep
_INTO_THE_JOB = calling.__file__
_TAKES_LOCKS = {logging.__file__, threading.__file__, "<frozen importlib._bootstrap>"}
# Of `threading`: where a wait for others may be endless, and whose locks are safe.
_WAITS = {"wait", "_wait_for_tstate_lock"}


def install() -> None:
    """Make the signal ours, if this is the main thread. Its default action ends the process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(SIGNAL, _handle)


def interrupt(session: BuildSession, cause: Cause, text: str) -> None:
    """Interrupt the session's function; the first cause counts."""
    if session.interruption is None:
        session.interruption = Interruption(cause, text)
    send_again(session)


def send_again(session: BuildSession) -> None:
    """Send the signal if the session's function has not got its exception yet."""
    wanted, main = session.interruption, threading.main_thread()
    if wanted is None or wanted.raised or main.ident is None:
        return
    # A job may have taken the signal; then it does not hear, and is killed later.
    if signal.getsignal(SIGNAL) is _handle:
        signal.pthread_kill(main.ident, SIGNAL)


def raise_if_due() -> None:
    """Raise what the job's function is to get; for the end of what the job called of ours.

    The signal hardly ever meets a job that logs without a pause in code of its own.
    """
    session = _next_to_raise()
    if session is None or threading.current_thread() is not threading.main_thread():
        return
    if _is_called_by_job(sys._getframe(2)):
        _raise(session)


def _handle(_number: int, frame: FrameType | None) -> None:
    session = _next_to_raise()
    if session is not None and _is_in_job(frame):
        _raise(session)


def _next_to_raise() -> BuildSession | None:
    for session in sessions.every():
        if session.interruption is not None and not session.interruption.raised:
            return session
    return None


def _raise(session: BuildSession) -> None:
    wanted = session.interruption
    assert wanted is not None
    wanted.raised = True
    raise BuildInterrupted(wanted.text, build_id=session.build_id)


def _takes_a_lock(frame: FrameType) -> bool:
    return frame.f_code.co_filename in _TAKES_LOCKS and frame.f_code.co_name not in _WAITS


def _is_in_job(frame: FrameType | None) -> bool:
    """Whether an exception may be raised here, in code of the job.

    Not while a lock is just being taken in Python code of the library, where an exception would
    leave it taken for ever: of a logging handler, of an event, of an import.
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
