"""A job that changes whatever of its process it can reach, and leaves it so."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import signal
import sys
import threading
import warnings
from typing import Any

from django.db import connection
from django.utils import timezone, translation

from builds import capture, sessions
from builds.logs import CaptureHandler
from builds.recorder import recorder
from jobcontrol.exceptions import SkipBuild
from jobcontrol.globals import current_app

OTHERS = logging.getLogger("tests.of.somebody.else")


class OwnLogger(logging.Logger):
    pass


def _drop(*_: object) -> bool:
    return False


def _trace(*_: object) -> None:
    return None


def spoil(folder: str) -> None:
    os.chdir(folder)
    os.umask(0o700)
    os.environ["TESTS_LEFT_BEHIND"] = "1"
    os.environ.pop("SECRET_KEY", None)
    sys.path.insert(0, "/nowhere")
    sys.setrecursionlimit(7_000)
    sys.setswitchinterval(0.5)
    gc.disable()
    sys.excepthook = sys.unraisablehook = threading.excepthook = _drop
    timezone.activate("Asia/Tokyo")
    translation.activate("it")
    _spoil_signals()
    _spoil_streams()
    _spoil_logging()
    warnings.showwarning = _drop
    warnings.filterwarnings("error", category=ResourceWarning, module="nowhere")
    # Last, for it slows all that follows.
    sys.settrace(_trace)
    sys.setprofile(_trace)


def _spoil_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 3600)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})


def _spoil_streams() -> None:
    sys.stdin = io.StringIO("something")
    sys.stdout = sys.stderr = io.StringIO()
    number = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(number, standard)
    os.close(number)


def _spoil_logging() -> None:
    logging.setLogRecordFactory(lambda *args, **options: logging.LogRecord(*args, **options))
    logging.setLoggerClass(OwnLogger)
    logging.raiseExceptions = not logging.raiseExceptions
    for known in (OTHERS, logging.root):
        known.setLevel(logging.CRITICAL)
        known.addFilter(_drop)
        known.addHandler(logging.StreamHandler(io.StringIO()))
    for handler in list(logging.root.handlers):
        handler.setLevel(logging.CRITICAL)
    OTHERS.propagate = False
    OTHERS.disabled = True
    logging.captureWarnings(False)
    logging.disable(logging.CRITICAL)


def trace_badly() -> None:
    """Have the interpreter raise TypeError in whatever Python code comes next."""
    sys.settrace(_drop)


def state() -> dict[str, Any]:
    """Everything that `spoil` spoils, as it is now."""
    # One is open at both looks: a build ends with the caller's connection closed.
    connection.ensure_connection()
    return {
        "folder": os.getcwd(),
        "umask": _umask(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "path": list(sys.path),
        "limit": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "gc": gc.isenabled(),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "trace": sys.gettrace(),
        "profile": sys.getprofile(),
        "zone": timezone.get_current_timezone_name(),
        "language": translation.get_language(),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "descriptors": [_file(number) for number in (0, 1, 2)],
        "open": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "logging": [_logger_state(known) for known in (logging.root, OTHERS)],
        "levels": [handler.level for handler in logging.root.handlers],
        "factory": logging.getLogRecordFactory(),
        "class": logging.getLoggerClass(),
        "raise": logging.raiseExceptions,
        "disable": logging.root.manager.disable,
        "warnings": (list(warnings.filters), warnings.showwarning),
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _file(number: int) -> tuple[int, int]:
    status = os.fstat(number)
    return status.st_dev, status.st_ino


def _logger_state(known: logging.Logger) -> dict[str, Any]:
    return {
        "level": known.level,
        "propagate": known.propagate,
        "disabled": known.disabled,
        "filters": list(known.filters),
        "handlers": list(known.handlers),
    }


def warn_and_log() -> None:
    warnings.warn("a warning of the next build", UserWarning, stacklevel=1)
    OTHERS.debug("a detail of the next build")
    print("a line of the next build")


def clean_up_badly(build: Any) -> None:
    spoil(os.path.dirname(os.path.abspath(__file__)))


def clean_up_tracing(build: Any) -> None:
    trace_badly()


async def clean_up_later(build: Any) -> None:
    await asyncio.sleep(0)
    print("cleaned up later")


def nested(job_id: str) -> list[bool]:
    """Build another job; tell whether streams and connection are still those of this one."""
    connection.ensure_connection()
    stream, raw = sys.stdout, connection.connection
    current_app.build_job(job_id)
    print("still captured")
    logging.getLogger("tests").debug("still captured too")
    return [sys.stdout is stream, connection.connection is raw]


def fork_and_look() -> list[int]:
    """Tell by the child's exit code what it found that is its parent's; then our own state."""
    connection.ensure_connection()
    scribe = recorder()
    pid = os.fork()
    if pid == 0:
        found = [
            sessions.current() is not None,
            isinstance(sys.stdout, capture.OutputCapture),
            any(isinstance(handler, CaptureHandler) for handler in logging.root.handlers),
            connection.connection is not None,
            not sessions.is_forked_child(),
            recorder() is scribe,
        ]
        os._exit(sum(1 << place for place, yes in enumerate(found) if yes))
    _, status = os.waitpid(pid, 0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return [os.waitstatus_to_exitcode(status), sessions.is_forked_child()]


def fork_and_come_back(how: str) -> int:
    """Let a child come back out of this function; return its exit code."""
    pid = os.fork()
    if pid == 0:
        if how == "raise":
            raise RuntimeError("in the child")
        if how == "skip":
            raise SkipBuild("in the child")
        return 0
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def look_whole() -> dict[str, Any]:
    """Use all that a build may use, and return what of the process may have been spoilt."""
    OTHERS.debug("a detail")
    print("printed")
    print("on stderr", file=sys.stderr)
    thread = threading.Thread(target=_in_thread)
    thread.start()
    thread.join()
    current_app.report_progress(None, 2, 2)
    current_app.report_progress(("part",), 1, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    now = state()
    # Of this very build, made anew for each, or of django-q2's timer.
    for name in ("streams", "hooks", "handlers", "logging", "levels", "warnings", "open", "timer"):
        del now[name]
    others = signal.valid_signals() - {signal.SIGALRM}
    now["handlers"] = [(number, str(signal.getsignal(number))) for number in sorted(others)]
    return {name: repr(value) for name, value in now.items()}


def _in_thread() -> None:
    logging.getLogger("some.thread").info("of a thread")
    print("printed by it")
