"""Exceptions as structure: what a person needs to know of one, safe to store and to show.

An exception itself is not kept: it may refuse to be pickled, hold the whole memory of a job, or
hold secrets. What is kept is text, bounded in every direction, with secrets masked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

from jobcontrol.utils.frames import (
    MAX_LINE,
    FrameInfo,
    Redact,
    Scribe,
    SkipFrame,
    frames_of,
    no_redaction,
)
from jobcontrol.utils.reprs import class_attribute, class_module, class_name, type_name
from jobcontrol.utils.text import JSON
from jobcontrol.utils.traceback_format import format_plain, format_terminal

MAX_MESSAGE = 16 * 1024
MAX_NOTES = 20
MAX_EXCEPTIONS = 200
"""Exceptions in one TracebackInfo: chain, groups and all."""
MAX_GROUP = 50
MAX_NESTING = 10
"""Levels of groups, and of contexts beside a cause."""
CHAIN_ENDS = 10
"""Links kept at each end of a long chain of causes."""


@dataclass
class TracebackInfo:
    """One exception: what it was, the calls that led to it, and the exceptions behind it.

    `cause` is the one it was raised from, `context` the one that was being handled (None when it
    is the cause). `suppress_context` says that `context` is not part of the usual output. `group`
    holds the members of an exception group. `details` are lines that come before the final one:
    the place of a syntax error. `omitted` says what of this was left out.
    """

    type: str = ""
    module: str = ""
    message: str = ""
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    frames: list[FrameInfo] = field(default_factory=list)
    cause: TracebackInfo | None = None
    context: TracebackInfo | None = None
    suppress_context: bool = False
    group: list[TracebackInfo] = field(default_factory=list)
    omitted: str = ""

    @property
    def full_type(self) -> str:
        """`ValueError` or `package.module.Class`."""
        hidden = self.module in ("", "builtins", "__main__")
        return self.type if hidden else f"{self.module}.{self.type}"

    @property
    def final_line(self) -> str:
        """What Python prints last: type and message."""
        return f"{self.full_type}: {self.message}" if self.message else self.full_type

    @property
    def leading(self) -> TracebackInfo | None:
        """The exception that Python prints before this one: cause, or context."""
        return self.cause or (None if self.suppress_context else self.context)

    @classmethod
    def from_exception(
        cls,
        exc: BaseException,
        *,
        skip_frame: SkipFrame | None = None,
        redact: Redact = no_redaction,
    ) -> TracebackInfo:
        """Take down `exc`. Never raises, whatever the exception and its locals do.

        Leading frames whose file name `skip_frame` accepts are left out; `redact` masks secrets in
        every text, before it is trimmed.
        """
        try:
            return _Reader(Scribe(redact), skip_frame).read(exc)
        except BaseException as error:  # noqa: BLE001 - no stack left, no memory: say that much
            return _unreadable(exc, error)

    @classmethod
    def from_current_exc(
        cls, *, skip_frame: SkipFrame | None = None, redact: Redact = no_redaction
    ) -> TracebackInfo:
        """Take down the exception being handled; where there is none, the result is empty."""
        exc = sys.exc_info()[1]
        if exc is None:
            return cls()
        return cls.from_exception(exc, skip_frame=skip_frame, redact=redact)

    @classmethod
    def from_tb(
        cls,
        tb: TracebackType | None,
        *,
        skip_frame: SkipFrame | None = None,
        redact: Redact = no_redaction,
    ) -> TracebackInfo:
        """Take down the calls of a traceback object; of the exception nothing is known."""
        return cls(frames=frames_of(tb, Scribe(redact), skip_frame))

    def to_json(self) -> dict[str, JSON]:
        """Return all of it as JSON."""
        return {
            "type": self.type,
            "module": self.module,
            "message": self.message,
            "notes": list[JSON](self.notes),
            "details": list[JSON](self.details),
            "frames": [frame.to_json() for frame in self.frames],
            "cause": None if self.cause is None else self.cause.to_json(),
            "context": None if self.context is None else self.context.to_json(),
            "suppress_context": self.suppress_context,
            "group": [member.to_json() for member in self.group],
            "omitted": self.omitted,
            "final_line": self.final_line,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TracebackInfo:
        """Return what `to_json` was called on; missing fields are empty."""
        cause, context = value.get("cause"), value.get("context")
        return cls(
            type=value.get("type", ""),
            module=value.get("module", ""),
            message=value.get("message", ""),
            notes=list(value.get("notes", ())),
            details=list(value.get("details", ())),
            frames=[FrameInfo.from_json(frame) for frame in value.get("frames", ())],
            cause=None if cause is None else cls.from_json(cause),
            context=None if context is None else cls.from_json(context),
            suppress_context=value.get("suppress_context", False),
            group=[cls.from_json(member) for member in value.get("group", ())],
            omitted=value.get("omitted", ""),
        )

    def chain(self) -> Iterator[TracebackInfo]:
        """Yield this exception and those behind it in the order in which they were raised."""
        links: list[TracebackInfo] = []
        link: TracebackInfo | None = self
        while link is not None:
            links.append(link)
            link = link.leading
        return reversed(links)

    def format(self) -> str:
        """Return the traceback as text for printing, local variables included."""
        return format_plain(self)

    def format_color(self) -> str:
        """Return the traceback as text for a terminal with 256 colours."""
        return format_terminal(self)

    def __str__(self) -> str:
        return self.format()


class _Reader:
    """Reads one exception and all that hang on it, each once."""

    def __init__(self, scribe: Scribe, skip_frame: SkipFrame | None) -> None:
        self.scribe = scribe
        self.skip_frame = skip_frame
        # The exceptions themselves, so that none is freed and its id used again.
        self.seen: dict[int, BaseException] = {}

    def read(self, exc: BaseException, depth: int = 0) -> TracebackInfo:
        """Read `exc` with the chain behind it."""
        chain = self._chain(exc)
        left_out = len(chain) - 2 * CHAIN_ENDS
        if left_out > 0:
            del chain[CHAIN_ENDS:-CHAIN_ENDS]
        infos = [self._one(link, depth) for link in chain]
        for position, (info, link) in enumerate(zip(infos, chain, strict=True)):
            behind = infos[position + 1] if position + 1 < len(infos) else None
            self._connect(info, link, behind, depth)
        if left_out > 0:
            infos[CHAIN_ENDS - 1].omitted = f"[{left_out} more exceptions between these two]"
        return infos[0]

    def _chain(self, exc: BaseException) -> list[BaseException]:
        chain: list[BaseException] = []
        link: BaseException | None = exc
        while link is not None and id(link) not in self.seen:
            self.seen[id(link)] = link
            chain.append(link)
            link = _cause(link) or _context(link)
        return chain

    def _connect(
        self, info: TracebackInfo, exc: BaseException, behind: TracebackInfo | None, depth: int
    ) -> None:
        info.suppress_context = _suppressed(exc)
        if _cause(exc) is None:
            info.context = behind
            return
        info.cause = behind
        context = _context(exc)
        if context is not None and id(context) not in self.seen and self._room(depth):
            info.context = self.read(context, depth + 1)

    def _room(self, depth: int) -> bool:
        return depth < MAX_NESTING and len(self.seen) < MAX_EXCEPTIONS

    def _one(self, exc: BaseException, depth: int) -> TracebackInfo:
        kind = type(exc)
        info = TracebackInfo(
            type=self.scribe.text(class_name(kind), MAX_LINE),
            module=self.scribe.text(class_module(kind), MAX_LINE),
            message=self._message(exc),
            notes=self._notes(exc),
            frames=frames_of(_traceback(exc), self.scribe, self.skip_frame),
        )
        if issubclass(kind, SyntaxError):
            info.details = [self.scribe.text(line, MAX_LINE) for line in _syntax_place(exc)]
        if issubclass(kind, BaseExceptionGroup):
            self._members(info, cast("BaseExceptionGroup[BaseException]", exc), depth)
        return info

    def _members(
        self, info: TracebackInfo, exc: BaseExceptionGroup[BaseException], depth: int
    ) -> None:
        members = _members_of(exc)
        for member in members:
            if len(info.group) == MAX_GROUP or not self._room(depth):
                break
            if id(member) not in self.seen:
                info.group.append(self.read(member, depth + 1))
        left_out = len(members) - len(info.group)
        if left_out > 0:
            info.omitted = f"[{left_out} more exceptions in this group]"

    def _message(self, exc: BaseException) -> str:
        try:
            own = class_attribute(type(exc), "__str__")
            arguments: tuple[object, ...] = _args_of(exc)
            if own is SyntaxError.__str__:
                # Its text repeats the place, which stands in the details.
                return self.scribe.text(str(_syntax_attribute(exc, "msg")), MAX_MESSAGE)
            if own is KeyError.__str__ and len(arguments) == 1:
                return self.scribe.value(arguments[0], MAX_MESSAGE)
            if len(arguments) > 1 and (own is BaseException.__str__ or own is KeyError.__str__):
                # As str() does, but not further than it will be shown.
                return self.scribe.value(arguments, MAX_MESSAGE)
            return self.scribe.text(str(exc), MAX_MESSAGE)
        except BaseException as error:  # noqa: BLE001 - its own methods raise what they like
            return f"<its text can't be had: {type_name(type(error))}>"

    def _notes(self, exc: BaseException) -> list[str]:
        try:
            notes = object.__getattribute__(exc, "__notes__")
            texts = [note if isinstance(note, str) else repr(note) for note in notes[:MAX_NOTES]]
        except BaseException:  # noqa: BLE001 - none, or something else under that name
            return []
        return [self.scribe.text(text, MAX_MESSAGE) for text in texts]


# What hangs on an exception is read through BaseException itself: a class may override any name.
_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__
_suppress_of = BaseException.__dict__["__suppress_context__"].__get__
_args_of = BaseException.__dict__["args"].__get__
_members_of = BaseExceptionGroup.__dict__["exceptions"].__get__
_traceback_of = BaseException.__dict__["__traceback__"].__get__


def _cause(exc: BaseException) -> BaseException | None:
    return cast("BaseException | None", _cause_of(exc))


def _context(exc: BaseException) -> BaseException | None:
    return cast("BaseException | None", _context_of(exc))


def _suppressed(exc: BaseException) -> bool:
    return bool(_suppress_of(exc))


def _traceback(exc: BaseException) -> TracebackType | None:
    return cast("TracebackType | None", _traceback_of(exc))


def _syntax_attribute(exc: BaseException, name: str) -> object:
    return SyntaxError.__dict__[name].__get__(exc)


def _syntax_place(exc: BaseException) -> list[str]:
    """File, line and column of a syntax error, as far as they are what they should be."""
    filename, lineno, offset, text = (
        _syntax_attribute(exc, name) for name in ("filename", "lineno", "offset", "text")
    )
    if type(lineno) is not int:
        return []
    lines = [f'  File "{filename if type(filename) is str else "<string>"}", line {lineno}']
    if type(text) is str and len(text) <= MAX_LINE:
        code = text.rstrip()
        lines.append(f"    {code.lstrip()}")
        column = offset - 1 - (len(code) - len(code.lstrip())) if type(offset) is int else -1
        if 0 <= column <= len(code):
            lines.append(f"    {' ' * column}^")
    return lines


def _unreadable(exc: BaseException, error: BaseException) -> TracebackInfo:
    kind = type(exc)
    return TracebackInfo(
        type=type_name(kind), omitted=f"[no more is known: {type_name(type(error))} while reading]"
    )
