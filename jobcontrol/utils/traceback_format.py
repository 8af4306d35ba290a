"""Tracebacks as text for people, plain or with the colours of a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobcontrol.utils.frames import FrameInfo
    from jobcontrol.utils.tracebacks import TracebackInfo

CAUSED = "The above exception was the direct cause of the following exception:"
DURING = "During handling of the above exception, another exception occurred:"

_Style = Callable[[str, str], str]

# Of the 256 colours of a terminal.
_COLORS = {
    "file": "38;5;75",
    "number": "38;5;179",
    "function": "38;5;114",
    "code": "1",
    "dim": "38;5;245",
    "variable": "38;5;176",
    "error": "1;38;5;203",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def format_plain(info: TracebackInfo) -> str:
    """Return what Python prints, with the local variables of each frame."""
    return "".join(f"{line}\n" for line in _chain(info, _plain, context=False))


def format_terminal(info: TracebackInfo) -> str:
    """Return the same with colours and the lines around; control characters are made visible."""
    return "".join(f"{line}\n" for line in _chain(info, _colored, context=True))


def _plain(_kind: str, text: str) -> str:
    return text


def _colored(kind: str, text: str) -> str:
    visible = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
    return f"\x1b[{_COLORS[kind]}m{visible}\x1b[0m"


def _chain(info: TracebackInfo, style: _Style, *, context: bool) -> Iterator[str]:
    previous: TracebackInfo | None = None
    for link in info.chain():
        if previous is not None:
            yield ""
            yield CAUSED if link.cause is previous else DURING
            yield ""
        yield from _exception(link, style, context=context)
        previous = link


def _exception(info: TracebackInfo, style: _Style, *, context: bool) -> Iterator[str]:
    if info.frames:
        yield "Traceback (most recent call last):"
    for frame in info.frames:
        yield from _frame(frame, style, context=context)
    for line in info.details:
        yield style("code", line)
    if info.type:
        yield from _lines(info.final_line, "error", style)
    for note in info.notes:
        yield from _lines(note, "error", style)
    for number, member in enumerate(info.group, 1):
        yield f"  | exception {number} of the group:"
        for line in _chain(member, style, context=context):
            yield f"  |   {line}"
    if info.omitted:
        yield style("dim", info.omitted)


def _lines(text: str, kind: str, style: _Style) -> Iterator[str]:
    return (style(kind, line) for line in text.split("\n"))


def _frame(frame: FrameInfo, style: _Style, *, context: bool) -> Iterator[str]:
    if not frame.filename:
        yield f"  {style('dim', frame.name)}"
        return
    file, number = style("file", f'"{frame.filename}"'), style("number", str(frame.lineno))
    yield f"  File {file}, line {number}, in {style('function', frame.name)}"
    if context and frame.context:
        for lineno, text in frame.context:
            here = lineno == frame.lineno
            yield style("code" if here else "dim", f"  {'>' if here else ' '} {lineno:>5} {text}")
    elif frame.line:
        yield f"    {style('code', frame.line)}"
    for name, value in frame.locs.items():
        yield f"        {style('variable', name)} = {style('dim', value)}"
