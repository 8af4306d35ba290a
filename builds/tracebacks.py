"""Tracebacks of builds: from the job's own frame on, as structure that any page can show."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, cast

from jobcontrol.exceptions import BuildInterrupted
from jobcontrol.utils import TracebackInfo
from jobcontrol.utils.frames import Scribe, frames_of
from jobcontrol.utils.text import clean_json
from jobs.redaction import Redactor

MAX_TEXT = 64 * 1024  # characters of one message or note

_OURS = str(Path(__file__).resolve().parent) + os.sep
_ASYNCIO = str(Path(asyncio.__file__).resolve().parent) + os.sep


def capture(error: BaseException, redactor: Redactor) -> dict[str, Any]:
    """Return the exception as JSON, redacted and bounded; never raises.

    The runner's own frames (and asyncio's, around a coroutine) are left out at the start.
    """
    info = TracebackInfo.from_exception(error, skip_frame=_is_runner_frame, redact=redactor.redact)
    for one in info.chain():
        if one.type == BuildInterrupted.__qualname__:
            # Of `builds.interrupts`, which raised it, and what the job called of ours.
            while one.frames and one.frames[-1].filename.startswith(_OURS):
                one.frames.pop()
    return cast("dict[str, Any]", clean_json(info.to_json(), text_limit=MAX_TEXT))


def of_main_thread(redactor: Redactor, message: str) -> dict[str, Any]:
    """Return where the job in the main thread is just now, in the form of an exception.

    To be called from another thread. Without local variables: their representations are code of
    the job, which must not run here.
    """
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    calls: TracebackType | None = None
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        calls = TracebackType(calls, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    frames = frames_of(calls, Scribe(redactor.redact, room=0), _is_runner_frame)
    for one in frames:
        one.locs = {}
    info = TracebackInfo(
        module=BuildInterrupted.__module__,
        type=BuildInterrupted.__qualname__,
        message=message,
        frames=frames,
    )
    return cast("dict[str, Any]", clean_json(info.to_json(), text_limit=MAX_TEXT))


def _is_runner_frame(filename: str) -> bool:
    return filename.startswith((_OURS, _ASYNCIO))
