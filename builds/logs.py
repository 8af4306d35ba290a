"""Log capture: from any logger, warning or print of a running build into a bounded buffer.

The caller only appends to the buffer; the recorder's thread redacts, cleans and writes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jobcontrol.utils import TracebackInfo
from jobcontrol.utils.text import clean_json, clean_text
from jobs.redaction import Redactor

MAX_WAITING = 20_000  # records in memory per build
MAX_WAITING_CHARS = 32 * 1024 * 1024
# Of the messages that are written at once, so that masking them delays no heartbeat for long.
MAX_TAKEN_CHARS = 4 * 1024 * 1024
MAX_HELD_CHARS = 16 * 1024 * 1024  # of one message, before redaction
MAX_MESSAGE_CHARS = 64 * 1024  # of one message, as stored
MAX_EXCEPTION_TEXT = 16 * 1024  # of one text inside a stored exception
ROOM_SECONDS = 5.0  # how long a caller waits for the writer before a record is dropped
# Past these a caller waits for the writer, a moment for each record, so that what is left to write
# when the job ends takes no long time: a cancel would take as long. All the room above is for a
# database that is away.
MAX_BEHIND = 4_000
MAX_BEHIND_CHARS = 8 * 1024 * 1024
PACE_SECONDS = 0.1

# Records of these loggers (and their children) are about us, not about the job.
OWN_LOGGERS = ("builds", "jobs", "jobcontrol_site", "django.db", "django-q")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record as captured; `created` is in seconds since the epoch."""

    created: float
    level: int
    logger: str
    message: str
    place: str = ""
    origin: str = ""
    exception: TracebackInfo | None = None  # its texts are redacted and cut already


class LogBuffer:
    """Records of one build that wait to be written; bounded in number and size.

    Past `max_rows` (0: no cap) only records from WARNING up are taken; the others are counted.
    """

    def __init__(self, redactor: Redactor | None = None, max_rows: int = 0) -> None:
        self.redactor = redactor or Redactor({})
        self.max_rows = max_rows
        self.left_out = 0
        self._rows = 0
        self._entries: deque[LogEntry] = deque()
        self._chars = 0
        self._counting = threading.Lock()
        self._room = threading.Condition()
        self.dropped = 0
        self._dropped_said = 0
        self._end: LogEntry | None = None
        # Whether the last write worked: a caller waits for room only then.
        self.healthy = True
        self.wake: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: LogEntry) -> None:
        """Append a record; wait a while for room, then drop it and count that."""
        if not self.leaves_out(entry.level):
            self._add(entry)

    def _add(self, entry: LogEntry, *, is_ours: bool = False) -> None:
        if self._behind():
            self._wait_while(self._behind, PACE_SECONDS)
        if self._full() and not self._wait_while(self._full, ROOM_SECONDS):
            self.count_dropped(1)
            return
        with self._counting:
            # Others may have come before while this one waited.
            is_left_out = not is_ours and self._is_past_cap(entry.level)
            is_first = is_left_out and not self.left_out
            if is_left_out:
                self.left_out += 1
            else:
                self._rows += 1
                self._chars += len(entry.message)
        if not is_left_out:
            self._entries.append(entry)
        if is_first:
            self._say_cap()

    def leaves_out(self, level: Any) -> bool:
        """Count a record of this level if the cap leaves it out; return whether it does."""
        if not self._is_past_cap(level):
            return False
        with self._counting:
            is_first = not self.left_out
            self.left_out += 1
        if is_first:
            self._say_cap()
        return True

    def say(self, level: int, message: str) -> None:
        """Append a line of our own about the build."""
        entry = LogEntry(time.time(), level, "jobcontrol", message, origin=_origin())
        self._add(entry, is_ours=True)

    def take(self, limit: int) -> list[LogEntry]:
        """Remove and return the oldest records: at most `limit`, fewer where they are long."""
        taken: list[LogEntry] = []
        chars = 0
        while self._entries and len(taken) < limit and chars < MAX_TAKEN_CHARS:
            taken.append(self._entries.popleft())
            chars += len(taken[-1].message)
        self._count(-chars)
        if taken:
            with self._room:
                self._room.notify_all()
        return taken + self._marker()

    def take_rest(self) -> list[LogEntry]:
        """Remove and return all records; at their end stands how many the cap left out."""
        taken: list[LogEntry] = []
        while self._entries:
            taken += self.take(len(self._entries))
        taken += self._marker()
        if self.left_out:
            count = f"{self.left_out:,}"
            text = f"Records below WARNING that were left out: {count}; {self._why_capped()}."
            self._end = LogEntry(time.time(), logging.WARNING, "jobcontrol", text, origin=_origin())
            taken.append(self._end)
        return taken

    def give_back(self, entries: list[LogEntry]) -> None:
        """Put records back in front after a write that failed."""
        # The end is told anew: by then more may have been left out.
        kept = [entry for entry in entries if entry is not self._end]
        self._entries.extendleft(reversed(kept))
        self._count(sum(len(entry.message) for entry in kept))

    def count_dropped(self, count: int) -> None:
        """Note records that were taken, or could not be, and are not written."""
        with self._counting:
            self.dropped += count

    def drop_all(self) -> None:
        """Drop what waits, and count it."""
        with self._counting:
            self.dropped += len(self._entries)
            self._entries.clear()
            self._chars = 0

    def _is_past_cap(self, level: Any) -> bool:
        return 0 < self.max_rows <= self._rows and _level(level) < logging.WARNING

    def _say_cap(self) -> None:
        text = f"From here on, records below WARNING are left out: {self._why_capped()}."
        entry = LogEntry(time.time(), logging.WARNING, "jobcontrol", text, origin=_origin())
        self._entries.append(entry)
        self._count(len(text))

    def _why_capped(self) -> str:
        return f"the log has {self.max_rows:,} rows (log_rows of the file's retention)"

    def _count(self, change: int) -> None:
        # Not atomic by itself: losses would add up to a buffer that is full for ever.
        with self._counting:
            self._chars += change

    def _marker(self) -> list[LogEntry]:
        """Return a record that says how many were dropped since the last one said so."""
        missing = self.dropped - self._dropped_said
        if not missing:
            return []
        self._dropped_said = self.dropped
        text = f"{missing} log records were dropped here: they could not be written in time."
        return [LogEntry(time.time(), logging.WARNING, "jobcontrol", text, origin=_origin())]

    def _full(self) -> bool:
        return len(self._entries) >= MAX_WAITING or self._chars >= MAX_WAITING_CHARS

    def _behind(self) -> bool:
        return len(self._entries) >= MAX_BEHIND or self._chars >= MAX_BEHIND_CHARS

    def _wait_while(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Let the writer work, if it can; return whether it is not so any more."""
        if not self.healthy or self.wake is None:
            return False
        deadline = time.monotonic() + seconds
        with self._room:
            while is_so():
                self.wake()
                if not self.healthy or not self._room.wait(deadline - time.monotonic()):
                    return False
        return True


class CaptureHandler(logging.Handler):
    """Hands every record to `sink`, whatever state the record is in.

    It takes no lock (the buffer needs none), so that a thread killed or forked in the middle of
    a record can't block the others. `after` is called when a record was captured.
    """

    def __init__(
        self, sink: Callable[[], LogBuffer | None], after: Callable[[], None] | None = None
    ) -> None:
        super().__init__(logging.DEBUG)
        self._sink = sink
        self._after = after
        self._busy = threading.local()

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture the record if the calling code belongs to a build."""
        if _is_own(record.name) or getattr(self._busy, "yes", False):
            return False
        buffer = self._sink()
        if buffer is None:
            return False
        if not buffer.leaves_out(record.levelno):  # before its text is made
            # The repr of an argument may log in turn.
            self._busy.yes = True
            try:
                buffer.add(entry_from_record(record, buffer.redactor))
            finally:
                self._busy.yes = False
        if self._after is not None:
            self._after()
        return True


def entry_from_record(record: logging.LogRecord, redactor: Redactor) -> LogEntry:
    """Return the record as an entry; a message that can't be formatted says so and is kept.

    An exception's texts are redacted here: they are cut as they are taken, and of a secret that
    was cut nobody could tell any more that it is one.
    """
    message = _message(record)
    if record.stack_info:
        message = f"{message}\n{record.stack_info}"
    return LogEntry(
        created=record.created,
        level=record.levelno,
        logger=str(record.name),
        message=message[:MAX_HELD_CHARS],
        place=f"{record.filename}:{record.lineno} {record.funcName}",
        origin=f"{record.process} {record.threadName}",
        exception=_exception(record, redactor),
    )


def entry_of_output(stream: str, level: int, line: str) -> LogEntry:
    """Return a line of captured output as an entry."""
    return LogEntry(time.time(), level, stream, line[:MAX_HELD_CHARS], origin=_origin())


def row_values(entry: LogEntry, redactor: Redactor) -> dict[str, Any]:
    """Return the columns of the entry: redacted first, cleaned and cut after."""
    exception = None
    if entry.exception is not None:
        exception = clean_json(entry.exception.to_json(), text_limit=MAX_EXCEPTION_TEXT)
    return {
        "created": _time(entry.created),
        "level": _level(entry.level),
        "logger": _label(entry.logger, 200, redactor),
        "message": redactor.redact_start(entry.message, MAX_MESSAGE_CHARS),
        "place": _label(entry.place, 300, redactor),
        "origin": _label(entry.origin, 200, redactor),
        "exception": exception,
    }


@lru_cache(maxsize=2_000)
def _label(text: str, limit: int, redactor: Redactor) -> str:
    """Mask and clean a text that the records of a build share; masking each would cost most."""
    return clean_text(redactor.redact(text), limit)


def _is_own(name: str) -> bool:
    return isinstance(name, str) and name.startswith(OWN_LOGGERS) and _top(name) in OWN_LOGGERS


def _top(name: str) -> str:
    parts = name.split(".")
    return "django.db" if parts[:2] == ["django", "db"] else parts[0]


def _message(record: logging.LogRecord) -> str:
    try:
        return str(record.getMessage())
    except BaseException as error:  # noqa: BLE001 - whatever a job logs, the line must stand
        return f"{_text(record.msg)} [arguments not formatted: {type(error).__name__}]"


def _text(value: object) -> str:
    try:
        return str(value)
    except BaseException as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}, whose text can't be made: {type(error).__name__}>"


def _exception(record: logging.LogRecord, redactor: Redactor) -> TracebackInfo | None:
    if not record.exc_info or not isinstance(record.exc_info, tuple) or not record.exc_info[1]:
        return None
    return TracebackInfo.from_exception(record.exc_info[1], redact=redactor.redact)


def _level(level: Any) -> int:
    """Return the level as the column takes it; a record made by hand may hold anything."""
    try:
        return min(max(int(level), 0), 32_767)
    except (ValueError, OverflowError, TypeError):
        return logging.INFO


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return datetime.now(UTC)


def _origin() -> str:
    return f"{os.getpid()} {threading.current_thread().name}"
