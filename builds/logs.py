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
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from jobcontrol.utils import TracebackInfo
from jobcontrol.utils.text import JSON, clean_json, clean_text
from jobs.redaction import Redactor

MAX_WAITING = 20_000  # records in memory per build
MAX_WAITING_CHARS = 32 * 1024 * 1024
# Of the messages that are written at once, so that masking them delays no heartbeat for long.
MAX_TAKEN_CHARS = 4 * 1024 * 1024
MAX_HELD_CHARS = 16 * 1024 * 1024  # of one message, before redaction
# Shorter messages, that is nearly all, are bounded by their number alone: counting takes a lock.
MIN_COUNTED_CHARS = 200
MAX_MESSAGE_CHARS = 64 * 1024  # of one message, as stored
MAX_LEVEL = 32_767  # that the column takes
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


class LogEntry(NamedTuple):
    """One record as captured; `created` is in seconds since the epoch."""

    created: float
    level: int
    logger: str
    message: str
    # Made into text when it is written: most records share it with others.
    file: Any = None
    line: Any = None
    function: Any = None
    process: Any = None
    thread: Any = None
    exception: TracebackInfo | None = None  # its texts are redacted and cut already


# The same as a plain tuple: the garbage collector looks at those once, and at all that wait of any
# other class time and again.
Captured: TypeAlias = tuple[float, int, str, str, Any, Any, Any, Any, Any, TracebackInfo | None]
_MESSAGE = LogEntry._fields.index("message")


class LogBuffer:
    """Records of one build that wait to be written; bounded in number and size.

    Past `max_rows` (0: no cap) only records from WARNING up are taken; the others are counted.
    """

    def __init__(self, redactor: Redactor | None = None, max_rows: int = 0) -> None:
        self.redactor = redactor or Redactor({})
        self.max_rows = max_rows
        self.left_out = 0
        # Whether the cap was reached; from then on for good.
        self.is_capped = False
        self._numbers = count(1)  # of the rows, in whichever thread
        self._entries: deque[Captured] = deque()
        self._chars = 0  # of the messages that are counted
        self._crowd = min(MAX_BEHIND, MAX_WAITING)
        self._crowd_chars = min(MAX_BEHIND_CHARS, MAX_WAITING_CHARS)
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

    def add(self, entry: Captured, *, is_ours: bool = False) -> None:
        """Append a record; wait a while for room, then drop it and count that.

        One of ours is taken whatever the cap says.
        """
        is_crowded = len(self._entries) >= self._crowd or self._chars >= self._crowd_chars
        if is_crowded and not self._wait_for_room():
            self.count_dropped(1)
            return
        # Once more: others may have come before while this one waited.
        if self.max_rows and self._is_left_out(next(self._numbers), entry[1], is_ours):
            return
        if len(entry[3]) >= MIN_COUNTED_CHARS:
            self._count(len(entry[3]))
        self._entries.append(entry)

    def leaves_out(self, level: Any) -> bool:
        """Count a record of this level if the cap leaves it out; return whether it does."""
        if not self.is_capped or level_number(level) >= logging.WARNING:
            return False
        with self._counting:
            is_first = not self.left_out
            self.left_out += 1
        if is_first:
            self._say_cap()
        return True

    def say(self, level: int, message: str) -> None:
        """Append a line of our own about the build."""
        entry = LogEntry(time.time(), level, "jobcontrol", message, **_origin())
        self.add(entry, is_ours=True)

    def take(self, limit: int) -> list[LogEntry]:
        """Remove and return the oldest records: at most `limit`, fewer where they are long."""
        taken: list[LogEntry] = []
        chars = 0
        pop, made = self._entries.popleft, LogEntry._make
        for _ in range(min(limit, len(self._entries))):
            entry = made(pop())
            taken.append(entry)
            if len(entry.message) >= MIN_COUNTED_CHARS:
                chars += len(entry.message)
                if chars >= MAX_TAKEN_CHARS:
                    break
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
            self._end = LogEntry(time.time(), logging.WARNING, "jobcontrol", text, **_origin())
            taken.append(self._end)
        return taken

    def give_back(self, entries: list[LogEntry]) -> None:
        """Put records back in front after a write that failed."""
        # The end is told anew: by then more may have been left out.
        kept = [entry for entry in entries if entry is not self._end]
        self._entries.extendleft(reversed(kept))
        self._count(sum(map(_counted_chars, kept)))

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

    def _is_left_out(self, number: int, level: int, is_ours: bool) -> bool:
        """Whether the cap leaves out the row that would have this number."""
        if number < self.max_rows:
            return False
        self.is_capped = True
        return number > self.max_rows and not is_ours and self.leaves_out(level)

    def _say_cap(self) -> None:
        text = f"From here on, records below WARNING are left out: {self._why_capped()}."
        entry = LogEntry(time.time(), logging.WARNING, "jobcontrol", text, **_origin())
        self._entries.append(entry)
        self._count(_counted_chars(entry))

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
        return [LogEntry(time.time(), logging.WARNING, "jobcontrol", text, **_origin())]

    def _full(self) -> bool:
        return len(self._entries) >= MAX_WAITING or self._chars >= MAX_WAITING_CHARS

    def _behind(self) -> bool:
        return len(self._entries) >= MAX_BEHIND or self._chars >= MAX_BEHIND_CHARS

    def _wait_for_room(self) -> bool:
        """Let the writer come nearer, and wait long where there is no room; return if there is."""
        if self._behind():
            self._wait_while(self._behind, PACE_SECONDS)
        return not self._full() or self._wait_while(self._full, ROOM_SECONDS)

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
        self._busy = _Busy()

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture the record if the calling code belongs to a build."""
        busy = self._busy
        try:
            if busy.yes or _is_own(record.name):
                return False
        except TypeError:
            pass  # a record made by hand may hold anything
        buffer = self._sink()
        if buffer is None:
            return False
        # Before its text is made.
        if not (buffer.is_capped and buffer.leaves_out(record.levelno)):
            # The repr of an argument may log in turn.
            busy.yes = True
            try:
                buffer.add(entry_from_record(record, buffer.redactor))
            finally:
                busy.yes = False
        if self._after is not None:
            self._after()
        return True


class _Busy(threading.local):
    """Whether this thread is capturing a record just now."""

    yes = False


def entry_from_record(record: logging.LogRecord, redactor: Redactor) -> Captured:
    """Return the record as an entry; a message that can't be formatted says so and is kept.

    An exception's texts are redacted here: they are cut as they are taken, and of a secret that
    was cut nobody could tell any more that it is one.
    """
    try:
        message = record.getMessage()
    except BaseException as error:  # noqa: BLE001 - whatever a job logs, the line must stand
        message = f"{_text(record.msg)} [arguments not formatted: {type(error).__name__}]"
    if type(message) is not str:
        message = _text(message)
    if record.stack_info:
        message = f"{message}\n{record.stack_info}"
    if len(message) > MAX_HELD_CHARS:
        message = message[:MAX_HELD_CHARS]
    return (
        record.created,
        record.levelno,
        record.name,
        message,
        record.filename,
        record.lineno,
        record.funcName,
        record.process,
        record.threadName,
        _exception(record, redactor) if record.exc_info else None,
    )


def entry_of_output(stream: str, level: int, line: str) -> LogEntry:
    """Return a line of captured output as an entry."""
    return LogEntry(time.time(), level, stream, line[:MAX_HELD_CHARS], **_origin())


def labels(redactor: Redactor, *parts: object) -> tuple[str, str, str]:
    """Return logger, place and origin as they are stored.

    `parts` are those of an entry: logger, file, line, function, process and thread.
    """
    try:
        return _labels(redactor, *parts)
    except TypeError:
        # A record made by hand may hold anything, also what can't be looked up.
        return _made_labels(redactor, *parts)


def level_number(level: Any) -> int:
    """Return the level as the column takes it; a record made by hand may hold anything."""
    if type(level) is int and 0 <= level <= MAX_LEVEL:
        return level
    try:
        return min(max(int(level), 0), MAX_LEVEL)
    except (ValueError, OverflowError, TypeError):
        return logging.INFO


def exception_json(exception: TracebackInfo) -> JSON:
    """Return what is stored of an exception."""
    return clean_json(exception.to_json(), text_limit=MAX_EXCEPTION_TEXT)


def _made_labels(redactor: Redactor, logger: object, *parts: object) -> tuple[str, str, str]:
    file, line, function, process, thread = map(_text, parts)
    place = "" if parts[0] is None else f"{file}:{line} {function}"
    origin = f"{process} {thread}"
    return (
        clean_text(redactor.redact(_text(logger)), 200),
        clean_text(redactor.redact(place), 300),
        clean_text(redactor.redact(origin), 200),
    )


# Most records share them with others; masking those of each would cost most.
_labels = lru_cache(maxsize=2_000)(_made_labels)


@lru_cache(maxsize=1_000)
def _is_own(name: str) -> bool:
    return isinstance(name, str) and name.startswith(OWN_LOGGERS) and _top(name) in OWN_LOGGERS


def _top(name: str) -> str:
    parts = name.split(".")
    return "django.db" if parts[:2] == ["django", "db"] else parts[0]


def _counted_chars(entry: LogEntry) -> int:
    chars = len(entry.message)
    return chars if chars >= MIN_COUNTED_CHARS else 0


def _text(value: object) -> str:
    try:
        return str(value)
    except BaseException as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}, whose text can't be made: {type(error).__name__}>"


def _exception(record: logging.LogRecord, redactor: Redactor) -> TracebackInfo | None:
    if not isinstance(record.exc_info, tuple) or not record.exc_info[1]:
        return None
    return TracebackInfo.from_exception(record.exc_info[1], redact=redactor.redact)


def _origin() -> dict[str, Any]:
    return {"process": os.getpid(), "thread": threading.current_thread().name}
