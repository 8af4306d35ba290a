"""The frames of a traceback as plain, bounded, redacted text."""

from __future__ import annotations

import linecache
import os.path
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType, TracebackType
from typing import Any, TypeAlias, cast

from jobcontrol.utils.reprs import bounded_repr
from jobcontrol.utils.text import JSON, clean_text, plain, trim_string

FIRST_FRAMES = 20
LAST_FRAMES = 40
MAX_LOCALS = 200
MAX_REPR = 1024
MAX_LINE = 500
MAX_SOURCE_BYTES = 10 * 1024 * 1024
CONTEXT_LINES = 5
"""Lines of source shown before and after the one that ran."""

_READ_AHEAD = 16 * 1024
"""Characters that are read, at least, to show MAX_REPR of them: masking makes them fewer."""

_UNSAFE_TAIL = 8 * 1024
"""Characters read beyond these: a secret up to this long is whole, where it begins before."""

_HIDDEN = frozenset({"__builtins__", "__loader__", "__spec__", "__cached__"})

Redact: TypeAlias = Callable[[str], str]
SkipFrame: TypeAlias = Callable[[str], bool]


def no_redaction(text: str) -> str:
    """Return `text` as it is."""
    return text


@dataclass
class FrameInfo:
    """One call of the stack.

    `line` is the source line that ran, `context` the lines around it as `(number, text)`, `locs`
    the local variables as `{name: representation}`. A frame without a file name is a note in the
    place of frames that are not shown.
    """

    filename: str
    lineno: int
    name: str
    line: str = ""
    locs: dict[str, str] = field(default_factory=dict)
    context: list[tuple[int, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON."""
        return {
            "filename": self.filename,
            "lineno": self.lineno,
            "name": self.name,
            "line": self.line,
            "locs": cast("dict[str, JSON]", dict(self.locs)),
            "context": [[number, text] for number, text in self.context],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FrameInfo:
        """Return what `to_json` was called on; missing fields are empty."""
        return cls(
            filename=value.get("filename", ""),
            lineno=value.get("lineno", 0),
            name=value.get("name", ""),
            line=value.get("line", ""),
            locs=dict(value.get("locs", {})),
            context=[(number, text) for number, text in value.get("context", ())],
        )


class Scribe:
    """Turns texts and values of one traceback into text that may be shown.

    It masks secrets before it trims, so that no part of one is left at the cut, and bounds what
    all values together take: `seconds` of time and `room` in characters.
    """

    def __init__(
        self, redact: Redact = no_redaction, *, seconds: float = 5.0, room: int = 4_000_000
    ) -> None:
        self._redact = redact
        self._until = time.monotonic() + seconds
        self._room = room

    def text(self, text: str, limit: int) -> str:
        """Return `text` redacted, storable and trimmed to `limit` characters."""
        text = plain(text)
        ahead = _ahead(limit)
        return self._shown(text[:ahead], limit, cut=len(text) > ahead)

    def value(self, value: object, limit: int = MAX_REPR) -> str:
        """Return the representation of `value`, redacted and trimmed to `limit` characters."""
        if self._room <= 0 or time.monotonic() > self._until:
            return "[not shown: the values of this traceback are too large or too slow]"
        text, cut = bounded_repr(value, _ahead(limit))
        shown = self._shown(text, limit, cut=cut)
        self._room -= len(shown)
        return shown

    def _shown(self, text: str, limit: int, *, cut: bool) -> str:
        shown = self._redact(clean_text(text))
        if cut:
            # At the cut the beginning of a secret may stand unmasked. What a shorter piece of the
            # text shows as well was masked here as a whole, or not at all.
            shorter = self._redact(clean_text(text[:-_UNSAFE_TAIL]))
            shown = os.path.commonprefix([shown, shorter]) + "..."  # noqa: RUF071 - characters
        return clean_text(trim_string(shown, limit))


def _ahead(limit: int) -> int:
    return max(_READ_AHEAD, 2 * limit) + _UNSAFE_TAIL


def frames_of(
    traceback: TracebackType | None, scribe: Scribe, skip_frame: SkipFrame | None = None
) -> list[FrameInfo]:
    """Return the frames of `traceback`, outermost first, from the first that is not skipped.

    Of a long stack the first 20 and last 40 are kept, with a note between them.
    """
    steps = _steps(traceback)
    if skip_frame is not None:
        steps = _without_leading(steps, skip_frame)
    first = list(islice(steps, FIRST_FRAMES))
    last: deque[tuple[FrameType, int]] = deque(maxlen=LAST_FRAMES)
    count = 0
    for step in steps:
        last.append(step)
        count += 1
    frames = [_frame(frame, lineno, scribe) for frame, lineno in first]
    if count > LAST_FRAMES:
        frames.append(FrameInfo("", 0, f"[{count - LAST_FRAMES} more calls, not shown]"))
    return frames + [_frame(frame, lineno, scribe) for frame, lineno in last]


def _steps(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback is not None:
        # A traceback may have no line: of code made without them.
        lineno = cast("int | None", traceback.tb_lineno)
        yield traceback.tb_frame, lineno or 0
        traceback = traceback.tb_next


def _without_leading(
    steps: Iterable[tuple[FrameType, int]], skip_frame: SkipFrame
) -> Iterator[tuple[FrameType, int]]:
    leading = True
    for frame, lineno in steps:
        leading = leading and skip_frame(frame.f_code.co_filename)
        if not leading:
            yield frame, lineno


def _frame(frame: FrameType, lineno: int, scribe: Scribe) -> FrameInfo:
    filename = frame.f_code.co_filename
    source = _source(filename, frame.f_globals)
    start = max(lineno - CONTEXT_LINES, 1)
    shown = source[start - 1 : lineno + CONTEXT_LINES] if lineno else []
    context = [
        (number, scribe.text(line.rstrip("\n\r"), MAX_LINE))
        for number, line in enumerate(shown, start)
    ]
    return FrameInfo(
        filename=scribe.text(filename, MAX_LINE) or "<unknown>",
        lineno=lineno,
        name=scribe.text(frame.f_code.co_qualname, MAX_LINE),
        line=dict(context).get(lineno, "").strip(),
        locs=_locals(frame, scribe),
        context=context,
    )


def _source(filename: str, namespace: dict[str, Any]) -> list[str]:
    """The lines of a source file, empty when there is none that can be read at once."""
    try:
        linecache.checkcache(filename)
        if filename not in linecache.cache and not _readable(filename):
            return []
        return linecache.getlines(filename, namespace)
    except BaseException:  # noqa: BLE001 - the loader of a module may raise anything
        return []


def _readable(filename: str) -> bool:
    """Whether reading can't block or fill the memory; no file: a module's loader may know it."""
    try:
        status = os.stat(filename)
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SOURCE_BYTES


def _locals(frame: FrameType, scribe: Scribe) -> dict[str, str]:
    shown: dict[str, str] = {}
    try:
        # Of a class body this may be any mapping, with any methods.
        for name, value in islice(_items(frame.f_locals), MAX_LOCALS + len(_HIDDEN)):
            text = plain(name) if isinstance(name, str) else scribe.value(name)
            if text in _HIDDEN:
                continue
            if len(shown) == MAX_LOCALS:
                shown["…"] = f"[only the first {MAX_LOCALS} are shown]"
                break
            shown[scribe.text(text, MAX_LINE)] = scribe.value(value)
    except BaseException as error:  # noqa: BLE001 - see above
        shown["…"] = f"[not readable: {type(error).__name__}]"
    return shown


def _items(namespace: Mapping[str, Any]) -> Iterable[tuple[object, object]]:
    return list(dict.items(namespace)) if isinstance(namespace, dict) else namespace.items()
