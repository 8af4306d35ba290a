"""Bounded YAML: from text to plain values, in one pass over the C parser's events.

PyYAML's own composer recurses in C and ends the process on very deep nesting, so values are made
here from events, with a stack of our own, and the limits hold before anything is built. The scalar
types are those of PyYAML's safe loader; of all other tags only `!retval` and `!secret` are known.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

import yaml
from yaml._yaml import CParser

from jobs.problems import Finding, quoted
from jobs.scalars import MERGE, ScalarError, construct, implicit_tag, unknown_tag
from jobs.tags import Retval, Secret

MAX_DEPTH = 100
MAX_NODES = 2_000_000  # aliases count as often as they are used
MAX_CHARACTERS = 64 * 1024 * 1024  # of all scalars, aliases expanded
# Lines of keys are kept for the upper levels: the file, the jobs, a job, the values of its keys.
DEPTH_WITH_LINES = 4

_TAG = "tag:yaml.org,2002:"
_CONTROL = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NO_KEY: Final = object()


class YamlError(Exception):
    """The text can't be parsed to its end; `findings` holds what was found until then."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__(findings[-1].message)


class _UnknownAlias(Exception):  # noqa: N818 - only a signal between two functions here
    pass


class Document:
    """A parsed document: its value, its mistakes, and where things stand in the text."""

    def __init__(self, value: object = None) -> None:
        self.value = value
        self.findings: list[Finding] = []
        # By identity; each entry holds its object, so that no other gets the same id.
        self._lines: dict[int, tuple[object, int, dict[Any, int] | list[int]]] = {}
        self._marks: dict[int, tuple[object, int]] = {}

    def place(self, container: object, line: int, lines: dict[Any, int] | list[int]) -> None:
        """Remember the line of a container and of each of its keys or items."""
        self._lines[id(container)] = (container, line, lines)

    def mark(self, tagged: Retval | Secret, line: int) -> None:
        """Remember the line of a reference."""
        self._marks[id(tagged)] = (tagged, line)

    def line(self, container: object, *path: object) -> int | None:
        """Return the line of the deepest step of `path` into `container` that is known."""
        _, found, lines = self._lines.get(id(container), (None, None, {}))
        for step in path:
            found = _entry(lines, step, found)
            container = _entry(container, step, None)
            _, _, lines = self._lines.get(id(container), (None, None, {}))
        return found

    def keys_lines(self, container: object) -> dict[Any, int]:
        """Return the lines of the keys of a mapping, as far as they are known."""
        _, _, lines = self._lines.get(id(container), (None, None, {}))
        return lines if isinstance(lines, dict) else {}

    def line_of_mark(self, tagged: object) -> int | None:
        """Return the line of this very `!retval` or `!secret`."""
        return self._marks.get(id(tagged), (None, None))[1]


def _entry(container: Any, step: Any, default: Any) -> Any:
    if isinstance(container, dict):
        return container.get(step, default)
    if isinstance(container, list | tuple) and isinstance(step, int) and step < len(container):
        return container[step]
    return default


def parse(text: str, *, skip: str | None = None) -> Document:
    """Parse one YAML document. Raises `YamlError` where parsing can't go on.

    The value of the top-level key `skip` is left out (None stands in its place).
    """
    found = _CONTROL.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        message = f"the control character U+{ord(found[0]):04X} is not allowed in YAML"
        raise YamlError([Finding("control-character", message, line)])
    try:
        return _Builder(text, skip).build()
    except _UnknownAlias:  # its anchor may stand in the part that was skipped
        return _Builder(text, None).build()


class _Frame:
    """A list or mapping that is still open."""

    __slots__ = (
        "anchor", "height", "items", "key", "key_line", "line", "lines", "mapping", "merges",
        "size", "tag",
    )  # fmt: skip

    def __init__(self, event: Any, mapping: bool, size: tuple[int, int], with_lines: bool) -> None:
        self.anchor = event.anchor
        self.tag = event.tag
        self.line: int = event.start_mark.line + 1
        self.mapping = mapping
        self.items: Any = {} if mapping else []
        self.lines: Any = ({} if mapping else []) if with_lines else None
        self.key: Any = _NO_KEY
        self.key_line = 0
        self.merges: list[dict[Any, Any]] = []
        self.size = size
        self.height = 1  # levels of nesting, this one included


class _Builder:
    def __init__(self, text: str, skip: str | None) -> None:
        self.text = text
        self.skip = skip
        self.parser = CParser(text)
        self.document = Document()
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[object, int, int, int]] = {}  # value, height, size
        self.nodes = 0
        self.characters = 0
        self.documents = 0

    def build(self) -> Document:
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._open_sequence,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._start_document,
        }
        next_event = self.parser.get_event
        try:
            while (event := next_event()) is not None:
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except yaml.MarkedYAMLError as error:
            self._fail(*_explain(self.text, error))
        except yaml.YAMLError as error:
            self._fail("yaml", f"not YAML: {error}", None)
        return self.document

    def _fail(self, rule: str, message: str, line: int | None) -> None:
        raise YamlError([*self.document.findings, Finding(rule, message, line)])

    def _find(self, rule: str, message: str, line: int) -> None:
        self.document.findings.append(Finding(rule, message, line))

    def _start_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            message = "a second document begins here ('---'); the file must be one document"
            self._fail("documents", message, event.start_mark.line + 1)

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        line: int = event.start_mark.line + 1
        self._count(1, len(text), line)
        value: object = text
        plain, quoted_or_block = event.implicit
        tag = implicit_tag(text) if plain else None if quoted_or_block else event.tag
        if tag is not None:
            value = self._tagged(tag, text, line)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 0, 1, len(text))
        self._add(value, 0, line)

    def _tagged(self, tag: str, text: str, line: int) -> object:
        try:
            value = construct(tag, text)
        except ScalarError as error:
            self._find(error.rule, str(error), line)
            return text
        if isinstance(value, Retval | Secret):
            self.document.mark(value, line)
        if value is MERGE and not self._awaits_key():
            return text
        return value

    def _awaits_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].mapping and self.stack[-1].key is _NO_KEY

    def _open_sequence(self, event: Any) -> None:
        self._open(event, False)

    def _open_mapping(self, event: Any) -> None:
        self._open(event, True)

    def _open(self, event: Any, mapping: bool) -> None:
        line = event.start_mark.line + 1
        depth = len(self.stack) + 1
        self._check_depth(depth, line)
        if self._skipping():
            self._skip_container()
            return
        size = (self.nodes, self.characters)
        self._count(1, 0, line)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)
        self.stack.append(_Frame(event, mapping, size, depth <= DEPTH_WITH_LINES))

    def _skipping(self) -> bool:
        return self.skip is not None and len(self.stack) == 1 and self.stack[0].key == self.skip

    def _skip_container(self) -> None:
        """Read past a whole container, leaving None as its value."""
        depth = 1
        starts = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
        ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        while depth:
            event = cast("Any", self.parser.get_event())
            if type(event) in starts:
                depth += 1
                self._check_depth(depth + 1, event.start_mark.line + 1)
            elif type(event) in ends:
                depth -= 1
        self._add(None, 0, self.stack[0].line)

    def _close(self, _event: Any) -> None:
        frame = self.stack.pop()
        value = self._finish(frame)
        if frame.lines is not None:
            self.document.place(value, frame.line, frame.lines)
        if frame.anchor is not None:
            nodes, characters = frame.size
            size = (self.nodes - nodes, self.characters - characters)
            self.anchors[frame.anchor] = (value, frame.height, *size)
        self._add(value, frame.height, frame.line)

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        name = event.anchor
        if any(frame.anchor == name for frame in self.stack) and name not in self.anchors:
            message = f"the alias *{name} stands inside what it refers to; that never ends"
            self._fail("recursive-alias", message, line)
        if name not in self.anchors:
            if self.skip is not None:
                raise _UnknownAlias
            self._find("alias", f"there is no anchor &{name} before this alias *{name}", line)
            self._add(None, 0, line)
            return
        value, height, nodes, characters = self.anchors[name]
        self._check_depth(len(self.stack) + height, line)
        self._count(nodes, characters, line)
        self._add(value, height, line)

    def _check_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            self._fail("depth", f"nested more than {MAX_DEPTH} levels deep", line)

    def _count(self, nodes: int, characters: int, line: int) -> None:
        self.nodes += nodes
        self.characters += characters
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values (aliases count as often as they are used)"
            self._fail("nodes", message, line)
        if self.characters > MAX_CHARACTERS:
            limit = MAX_CHARACTERS // 1024 // 1024
            message = f"more than {limit} million characters once aliases are expanded"
            self._fail("nodes", message, line)

    def _add(self, value: object, height: int, line: int) -> None:
        if not self.stack:
            self.document.value = value
            return
        frame = self.stack[-1]
        if height >= frame.height:
            frame.height = height + 1
        if not frame.mapping:
            frame.items.append(value)
            if frame.lines is not None:
                frame.lines.append(line)
        elif frame.key is _NO_KEY:
            self._take_key(frame, value, line)
        else:
            self._take_value(frame, value)

    def _take_key(self, frame: _Frame, key: Any, line: int) -> None:
        frame.key_line = line
        if isinstance(key, list | dict | set | Retval):
            self._find("key", f"a key must be text or a number, not {quoted(key)}", line)
            key = f"<key of line {line}>"
        if key in frame.items:
            first = f" (first in line {frame.lines[key]})" if frame.lines else ""
            self._find("duplicate-key", f"the key {quoted(key)} stands here twice{first}", line)
        elif frame.lines is not None:
            frame.lines[key] = line
        frame.key = key

    def _take_value(self, frame: _Frame, value: Any) -> None:
        key, frame.key = frame.key, _NO_KEY
        if key is not MERGE:
            frame.items[key] = value
            return
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if isinstance(source, dict):
                frame.merges.append(source)
            else:
                message = f"'<<' takes a mapping or a list of mappings, not {quoted(source)}"
                self._find("merge", message, frame.key_line)

    def _finish(self, frame: _Frame) -> object:
        items = frame.items
        if frame.merges:
            merged: dict[Any, Any] = {}
            for source in reversed(frame.merges):
                merged.update(source)
            items = merged | items
        tag = frame.tag
        if tag is None or tag in ("!", f"{_TAG}{'map' if frame.mapping else 'seq'}"):
            return items
        return self._finish_tagged(frame, items, tag)

    def _finish_tagged(self, frame: _Frame, items: Any, tag: str) -> object:
        """Apply an explicit tag to a list or mapping; a wrong one is found and left out."""
        if frame.mapping and tag == f"{_TAG}set":
            return self._finish_set(frame, items)
        if not frame.mapping and tag in (f"{_TAG}omap", f"{_TAG}pairs"):
            if all(isinstance(item, dict) and len(item) == 1 for item in items):
                return [next(iter(item.items())) for item in items]
            message = "takes a list of mappings with one key each"
            self._find("value", f"!!{tag.removeprefix(_TAG)} {message}", frame.line)
            return items
        kind = "mapping" if frame.mapping else "list"
        if tag in ("!retval", "!secret"):
            what = "a job id" if tag == "!retval" else "the name of a secret"
            self._find("tag", f"{tag} takes {what}, not a {kind}", frame.line)
        else:
            self._find("tag", f"{unknown_tag(tag)} (here on a {kind})", frame.line)
        return items

    def _finish_set(self, frame: _Frame, items: dict[Any, Any]) -> object:
        if any(value is not None for value in items.values()):
            self._find("value", "!!set takes keys without values", frame.line)
        return set(items)


def _explain(text: str, error: yaml.MarkedYAMLError) -> tuple[str, str, int | None]:
    """Return rule, message and line of what the C parser stumbled on."""
    context: Any = error.context_mark
    mark: Any = error.problem_mark or context
    line = mark.line + 1 if mark is not None else None
    lines = text.splitlines()
    if line is not None:
        # The parser notices a tab a line late when it took the line for a continuation.
        for number in (line, line - 1):
            if 1 <= number <= len(lines) and _indented_by_tab(lines[number - 1]):
                return "tabs", "a tab stands in the indentation; YAML allows spaces only", number
    parts = [part for part in (error.context, error.problem) if part]
    since = ""
    if context is not None and line is not None and context.line + 1 != line:
        since = f" (it began in line {context.line + 1})"
    return "yaml", f"not YAML: {', '.join(parts)}{since}", line


def _indented_by_tab(line: str) -> bool:
    return "\t" in line[: len(line) - len(line.lstrip(" \t"))]
