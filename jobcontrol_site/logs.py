"""What the processes' own log lines say besides their text; set up before the apps are loaded."""

from __future__ import annotations

import logging


class NameErrors(logging.Filter):
    """Adds to a record about a request that failed the name that its page shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through; Django logs a failure once its page was made."""
        name = getattr(getattr(record, "request", None), "error_id", "")
        mark = f" (error {name})"
        if name and not str(record.msg).endswith(mark):
            record.msg = f"{record.msg}{mark}"
        return True
