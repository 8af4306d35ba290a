"""The format of the processes' own log lines: no secret leaves them."""

from __future__ import annotations

import logging
from collections.abc import Callable


class _Mask:
    """How to mask a text. Logging is set up before the configuration can be read."""

    redact: Callable[[str], str] | None = None


def mask_with(redact: Callable[[str], str]) -> None:
    """Set what masks a line; called once the apps are loaded."""
    _Mask.redact = redact


class MaskingFormatter(logging.Formatter):
    """Formats a record as usual, its traceback included, and masks secrets in the result."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, masked."""
        line = super().format(record)
        return line if _Mask.redact is None else _Mask.redact(line)
