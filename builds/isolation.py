"""A worker outlives its builds: what a job changed in the process is put back.

Working folder, environment, import path, signal handlers and timers, streams and their
descriptors, logging, warnings, recursion limit, umask, garbage collection, Django's zone and
language, and the job's own database connections.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone, translation

Restore = Callable[[], None]

logger = logging.getLogger(__name__)


@contextmanager
def preserved() -> Iterator[None]:
    """Put the process back into its state of now when the block ends."""
    restores = [save() for save in _SAVERS]
    try:
        yield
    finally:
        for restore in reversed(restores):
            _try(restore)


def _try(restore: Restore) -> None:
    try:
        restore()
    except Exception:
        logger.exception("the worker's state was not wholly put back after a build")


def _save_folder() -> Restore:
    folder = os.getcwd()

    def restore() -> None:
        os.chdir(folder)

    return restore


def _save_environment() -> Restore:
    environment, path, umask = os.environ, list(sys.path), os.umask(0)
    before = _encoded(environment)
    os.umask(umask)

    def restore() -> None:
        os.umask(umask)
        sys.path[:] = path
        os.environ = environment  # noqa: B003 - not a new one: back to the true one
        if before != _encoded(environment):
            environment.clear()
            environment.update({os.fsdecode(name): os.fsdecode(before[name]) for name in before})

    return restore


def _encoded(environment: os._Environ[str]) -> dict[bytes, bytes]:
    """Return a copy of what stands behind an environment; to decode all of it takes a while."""
    encoded: dict[bytes, bytes] = environment._data  # type: ignore[attr-defined]
    return dict(encoded)


def _save_interpreter() -> Restore:
    limit, collecting, switch = sys.getrecursionlimit(), gc.isenabled(), sys.getswitchinterval()
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    trace, profile = sys.gettrace(), sys.getprofile()

    def restore() -> None:
        sys.setrecursionlimit(limit)
        sys.setswitchinterval(switch)
        (gc.enable if collecting else gc.disable)()
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        sys.settrace(trace)
        sys.setprofile(profile)
        timezone.deactivate()
        translation.deactivate()

    return restore


_SIGNALS = tuple(map(int, signal.valid_signals()))
# What `signal.getsignal` calls: itself it spends ten times as long on making enums of numbers.
_handler_of = _signal.getsignal


def _save_signals() -> Restore:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    handlers = [_handler_of(number) for number in _SIGNALS]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def restore() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(_SIGNALS, handlers, strict=True):
            # A handler of None was not set from Python and can't be set from it.
            if handler is not None and _handler_of(number) is not handler:
                with suppress(OSError, ValueError):
                    signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return restore


def _save_streams() -> Restore:
    streams = sys.stdin, sys.stdout, sys.stderr
    copies = {number: _copy_of(number) for number in (0, 1, 2)}

    def restore() -> None:
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, copy in copies.items():
            if copy is not None:
                if not _is_same_file(number, copy):
                    os.dup2(copy, number)
                os.close(copy)

    return restore


def _copy_of(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:
        return None


def _is_same_file(one: int, other: int) -> bool:
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def _save_warnings() -> Restore:
    filters, show = warnings.filters[:], warnings.showwarning

    def restore() -> None:
        logging.captureWarnings(False)
        warnings.showwarning = show
        if warnings.filters != filters:
            warnings.filters[:] = filters  # type: ignore[index]
            # The documented way to make the registries of modules notice.
            warnings._filters_mutated()  # type: ignore[attr-defined]

    return restore


_LOGGER_STATE = attrgetter("level", "propagate", "disabled", "handlers", "filters")


def _save_logging() -> Restore:
    root = logging.root
    loggers = [
        known for known in root.manager.loggerDict.values() if isinstance(known, logging.Logger)
    ]
    states = [(known, _state_of(known)) for known in (root, *loggers)]
    levels = [(handler, handler.level) for handler in root.handlers]
    disabled, factory = root.manager.disable, logging.getLogRecordFactory()
    logger_class, raising = logging.getLoggerClass(), logging.raiseExceptions

    def restore() -> None:
        logging.disable(disabled)
        logging.setLogRecordFactory(factory)
        logging.setLoggerClass(logger_class)
        logging.raiseExceptions = raising
        for known, state in states:
            _put_back(known, state)
        for handler, level in levels:
            handler.setLevel(level)

    return restore


def _state_of(known: logging.Logger) -> tuple[Any, ...]:
    level, propagate, disabled, handlers, filters = _LOGGER_STATE(known)
    return level, propagate, disabled, [*handlers], [*filters]


def _put_back(known: logging.Logger, state: tuple[Any, ...]) -> None:
    if _LOGGER_STATE(known) == state:
        return
    level, known.propagate, known.disabled, handlers, filters = state
    if known.level != level:
        known.setLevel(level)
    if known.handlers != handlers:
        known.handlers[:] = handlers
    if known.filters != filters:
        known.filters[:] = filters


def _save_connections() -> Restore:
    """Close what the job opened, locked or left in the middle; leave a caller's transaction."""
    busy = [
        connection
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
    ]

    def restore() -> None:
        for connection in connections.all(initialized_only=True):
            if connection not in busy:
                _discard(connection)

    return restore


def _discard(connection: BaseDatabaseWrapper) -> None:
    raw = connection.connection
    # A wrapper in a broken transaction refuses a plain close(); a new one is made when needed.
    del connections[connection.alias]
    if raw is not None:
        try:
            raw.close()
        except Exception:
            # Each driver has errors of its own; the connection is not used again anyway.
            logger.debug("a job's connection did not close cleanly", exc_info=True)


# In this order; undone in the reverse one, so that streams come back before logging uses them.
_SAVERS: tuple[Callable[[], Restore], ...] = (
    _save_connections,
    _save_logging,
    _save_warnings,
    _save_streams,
    _save_signals,
    _save_interpreter,
    _save_environment,
    _save_folder,
)
