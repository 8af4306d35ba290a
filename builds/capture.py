"""While a build runs: its log records, warnings and output go to its buffer."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from django.db import connections

from builds import interrupts, sessions
from builds.logs import MAX_HELD_CHARS, CaptureHandler, LogBuffer, entry_of_output
from builds.sessions import current_buffer

# Connections that a forked child inherited: kept unclosed, because closing one there would end
# the parent's conversation with the database.
_inherited: list[Any] = []


class _Installed:
    """The streams that stood before the capture, while one is installed."""

    originals: tuple[TextIO, TextIO] | None = None
    handler: CaptureHandler | None = None


@dataclass
class _Line:
    """What one thread wrote of a line that has not ended; counted, not measured at each write."""

    pieces: list[str] = field(default_factory=list)
    chars: int = 0


class OutputCapture(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: whole lines become log records.

    Without a current build (a thread left behind by one) text goes to the real stream.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, level: int, original: TextIO) -> None:
        self._name = name
        self._level = level
        self._original = original
        self._partial: dict[int, _Line] = {}
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        """Take text; complete lines are recorded at once, the rest when its line ends."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        target = current_buffer()
        if target is None:
            return _write_through(self._original, text)
        held = self._partial.setdefault(threading.get_ident(), _Line())
        held.pieces.append(text)
        held.chars += len(text)
        if "\n" in text or held.chars > MAX_HELD_CHARS:
            *lines, rest = "".join(held.pieces).split("\n")
            if len(rest) > MAX_HELD_CHARS:
                lines, rest = [*lines, rest], ""
            held.pieces, held.chars = ([rest] if rest else []), len(rest)
            for line in lines:
                target.add(entry_of_output(self._name, self._level, line.rstrip("\r")))
            interrupts.raise_if_due()
        return len(text)

    def end(self, target: LogBuffer) -> None:
        """Record what is left of lines that never ended."""
        for held in self._partial.values():
            if text := "".join(held.pieces):
                target.add(entry_of_output(self._name, self._level, text))
        self._partial.clear()

    def fileno(self) -> int:
        """Return the real stream's descriptor, for child processes."""
        return self._original.fileno()

    def reconfigure(self, **_options: Any) -> None:
        """Take what `io.TextIOWrapper` takes, and stay as it is."""

    def isatty(self) -> bool:
        """Return False: nobody types here."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Stay open: the next line of the job, or of a library, is to be kept too."""


class _Bytes(io.RawIOBase):
    """The `buffer` of a captured stream."""

    def __init__(self, text: OutputCapture) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def close(self) -> None:
        """Stay open, as the text layer does."""


def _write_through(stream: TextIO, text: str) -> int:
    try:
        return stream.write(text)
    except (ValueError, OSError):
        # The process has no usable stream; there is nobody to tell.
        return len(text)


@contextmanager
def installed(buffer: LogBuffer) -> Iterator[None]:
    """Capture what this process logs and prints; partial lines end up in `buffer`.

    Meant for the outermost build; `builds.isolation` puts logging and streams back afterwards.
    """
    originals = sys.stdout, sys.stderr
    out = OutputCapture("stdout", logging.INFO, originals[0])
    err = OutputCapture("stderr", logging.WARNING, originals[1])
    handler = CaptureHandler(current_buffer, interrupts.raise_if_due)
    _Installed.originals, _Installed.handler = originals, handler
    _capture_logging(handler)
    threading.excepthook = _log_thread_exception
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.end(buffer)
        err.end(buffer)
        sys.stdout, sys.stderr = originals
        logging.root.removeHandler(handler)
        _Installed.originals = _Installed.handler = None


def _log_thread_exception(hook: threading.ExceptHookArgs) -> None:
    """Keep what ended a thread as a record with its traceback, not as printed text."""
    error = hook.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    name = hook.thread.name if hook.thread else "unknown"
    logging.getLogger("threading").error(
        "thread %s ended with an exception", name, exc_info=(type(error), error, hook.exc_traceback)
    )


def _capture_logging(handler: CaptureHandler) -> None:
    root = logging.root
    for other in root.handlers:
        # The root opens up to DEBUG for us; the console stays as quiet as it was.
        if other.level < root.level:
            other.setLevel(root.level)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.captureWarnings(True)


class _Forking(threading.local):
    mask: set[int] | None = None  # of signals, before the fork


_forking = _Forking()


def _before_fork() -> None:
    """Hold SIGTERM back until the child heeds it.

    One that came before would be lost, and who sent it would wait for ever: a process pool ends
    its children by it, some of which may just have been forked.
    """
    if _Installed.originals is not None:
        _forking.mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))


def _after_fork() -> None:
    mask, _forking.mask = _forking.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_forked_child() -> None:
    try:
        _leave_the_build()
    finally:
        _after_fork()


def _leave_the_build() -> None:
    """Give a child of a job its own streams and connections; its parent does the recording."""
    if _Installed.originals is None:
        return
    sys.stdout, sys.stderr = _Installed.originals
    if _Installed.handler is not None:
        logging.root.removeHandler(_Installed.handler)
    _Installed.originals = _Installed.handler = None
    # A worker takes no notice of SIGTERM; its job's children must, or nothing could end them.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sessions.forget_all()
    for connection in connections.all(initialized_only=True):
        _inherited.append(connection.connection)
        connection.connection = None


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_child
)
