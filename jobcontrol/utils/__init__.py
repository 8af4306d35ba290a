"""Utilities for job authors and for the rest of JobControl; they know nothing of it."""

from __future__ import annotations

from jobcontrol.utils.frames import FrameInfo
from jobcontrol.utils.importing import import_object
from jobcontrol.utils.progress import ProgressReport
from jobcontrol.utils.reprs import short_repr
from jobcontrol.utils.text import trim_string
from jobcontrol.utils.tracebacks import TracebackInfo

__all__ = [
    "FrameInfo",
    "ProgressReport",
    "TracebackInfo",
    "import_object",
    "short_repr",
    "trim_string",
]
