"""What is kept of the log of a cleanup: its beginning and its end, as text."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

from django.utils import timezone

from builds.logs import LogEntry
from jobcontrol.utils.text import clean_text
from jobs.redaction import Redactor

MAX_CHARS = 256 * 1024
MAX_LINE_CHARS = 32 * 1024  # of one record, its traceback included


class LogExcerpt:
    """The first and the last records of a log, each as lines of text, bounded in size.

    The beginning says what was going on, the end what went wrong; what a cleanup says of a
    hundred thousand files in between is left out, and that is said.
    """

    def __init__(self, redactor: Redactor, limit: int = MAX_CHARS) -> None:
        self._redactor = redactor
        self._half = limit // 2
        self._first: list[str] = []
        self._first_chars = 0
        self._last: deque[str] = deque()
        self._last_chars = 0
        self._left_out = 0

    def add(self, entries: Iterable[LogEntry]) -> None:
        """Add records, in their order."""
        for entry in entries:
            self._add(clean_text(self._text(entry), MAX_LINE_CHARS))

    def __str__(self) -> str:
        marker = [f"… [{self._left_out} records left out]"] if self._left_out else []
        text = "\n".join([*self._first, *marker, *self._last])
        # Once more as a whole: a secret of several lines may have been written line by line.
        return clean_text(self._redactor.redact(text))

    def _add(self, text: str) -> None:
        size = len(text) + 1
        if not self._last and self._first_chars + size <= self._half:
            self._first.append(text)
            self._first_chars += size
            return
        self._last.append(text)
        self._last_chars += size
        while self._last_chars > self._half and len(self._last) > 1:
            self._last_chars -= len(self._last.popleft()) + 1
            self._left_out += 1

    def _text(self, entry: LogEntry) -> str:
        moment = timezone.localtime(datetime.fromtimestamp(entry.created, UTC))
        message = self._redactor.redact_start(entry.message, MAX_LINE_CHARS)
        line = f"{moment:%Y-%m-%d %H:%M:%S %z} {logging.getLevelName(entry.level)} {message}"
        # The texts of an exception were redacted as they were taken.
        return f"{line}\n{entry.exception.format()}" if entry.exception else line
