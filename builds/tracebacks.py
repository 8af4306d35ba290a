"""Tracebacks of builds: from the job's own frame on, as structure that any page can show."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from jobcontrol.utils import TracebackInfo
from jobcontrol.utils.text import clean_json
from jobs.redaction import Redactor

MAX_TEXT = 64 * 1024  # characters of one message or note

_OURS = str(Path(__file__).resolve().parent)
_ASYNCIO = str(Path(asyncio.__file__).resolve().parent)


def capture(error: BaseException, redactor: Redactor) -> dict[str, Any]:
    """Return the exception as JSON, redacted and bounded; never raises.

    The runner's own frames (and asyncio's, around a coroutine) are left out at the start.
    """
    info = TracebackInfo.from_exception(error, skip_frame=_is_runner_frame, redact=redactor.redact)
    return cast("dict[str, Any]", clean_json(info.to_json(), text_limit=MAX_TEXT))


def _is_runner_frame(filename: str) -> bool:
    return filename.startswith((_OURS, _ASYNCIO))
