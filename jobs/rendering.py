"""From a file to one expanded text: reading, and Jinja in a sandbox.

Everything that can go wrong comes out as a `ConfigError` that names file and line.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import SandboxedEnvironment

from jobs.problems import EXCERPT_LENGTH, ConfigError, Problem, nearest, quoted

MAX_BYTES = 16 * 1024 * 1024  # of each source, and (as characters) of the expanded text
MAX_SOURCES = 1000
MAX_CALLS = 1_000_000  # of macros and functions; each job made by a macro is one
_MARKERS = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that went into the configuration, as text with `\\n` line ends."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The expanded text and where it came from; `paths` also has files looked for in vain."""

    expanded: str
    sources: tuple[Source, ...]
    paths: tuple[str, ...]


def read_source(path: str | Path) -> Source:
    """Read a file as UTF-8. Raises `ConfigError`."""
    name = str(path)
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise _refuse(name, "unreadable", "this is not a file")
        if status.st_size <= MAX_BYTES:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        else:
            data = b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"the file can't be read: {reason or error}"
        raise _refuse(name, "unreadable", message) from error
    if max(status.st_size, len(data)) > MAX_BYTES:
        size = max(status.st_size, len(data)) / 1024 / 1024
        limit = MAX_BYTES // 1024 // 1024
        message = f"the file has {size:.1f} MiB; at most {limit} MiB are read. Split or shorten it"
        raise _refuse(name, "size", message)
    return Source(name, _decode(name, data))


def source_of_text(name: str, text: str) -> Source:
    """Make a source of text that stands in no file. Raises `ConfigError`."""
    if len(text) > MAX_BYTES:
        raise _refuse(name, "size", f"the text has over {MAX_BYTES // 1024 // 1024} MiB")
    return Source(name, _normalize(name, text.removeprefix("\ufeff")))


def render(
    main: Source, *, folder: str | Path | None, environ: Mapping[str, str], limit: int = MAX_BYTES
) -> Rendered:
    """Expand `main`; includes and imports come from `folder`. Raises `ConfigError`."""
    loader = _Loader(main, folder)
    if not any(marker in main.text for marker in _MARKERS):
        return Rendered(main.text, (main,), loader.paths)
    try:
        expanded = _generate(loader, environ, limit)
    except ConfigError as error:
        raise ConfigError(error.problems, loader.paths) from error
    # An expression of a template can raise anything; each is the template's mistake.
    except Exception as error:
        raise ConfigError([_template_problem(loader, error)], loader.paths) from error
    return Rendered(expanded, tuple(loader.sources.values()), loader.paths)


def _generate(loader: _Loader, environ: Mapping[str, str], limit: int) -> str:
    environment = _Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _not_for_json}
    template = environment.get_template(loader.main_name)
    pieces: list[str] = []
    size = 0
    for piece in template.generate(env=EnvironmentVariables(environ)):
        size += len(piece)
        if size > limit:
            message = f"the expanded text has over {limit // 1024 // 1024} MiB; write less"
            raise _refuse(loader.main.path, "size", message)
        pieces.append(piece)
    return "".join(pieces)


def _not_for_json(value: object) -> str:
    """Refuse what `tojson` can't write; for what is undefined, with the words that name it."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises UndefinedError
    raise TypeError(f"tojson can't write a value of type {type(value).__name__}")


class EnvironmentVariables(Mapping[str, str]):
    """`env` of the templates: a missing name is an error, `env.get(name, default)` is not."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def __repr__(self) -> str:
        return "<environment variables>"


class _CodeGenerator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.join((")
        for operand in node.nodes:
            self.visit(operand, frame)
            self.write(", ")
        self.write("))")


class _Environment(SandboxedEnvironment):
    """Bounds what a few lines of a template can blow up to gigabytes or hours."""

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset(["*", "**", "+"])
    calls = 0

    def call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise OverflowError(f"more than {MAX_CALLS:,} calls of macros and functions")
        return super().call(*args, **kwargs)

    def join(self, operands: tuple[Any, ...]) -> str:
        """Join the operands of `~`."""
        texts = [str(operand) for operand in operands]
        if sum(map(len, texts)) > MAX_BYTES:
            raise OverflowError("the result of '~' is too big")
        return "".join(texts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if _is_too_big(operator, left, right):
            raise OverflowError(f"the result of {operator!r} is too big")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._variable(obj, attribute, super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._variable(obj, argument, super().getitem(obj, argument))

    def _variable(self, obj: Any, name: Any, value: Any) -> Any:
        if not (isinstance(obj, EnvironmentVariables) and isinstance(value, jinja2.Undefined)):
            return value
        hint = (
            f"the environment variable {name!r} is not set. Set it, "
            f"or give a default: env.get({name!r}, 'default')"
        )
        return self.undefined(hint, obj=obj, name=str(name))


def _is_too_big(operator: str, left: Any, right: Any) -> bool:
    if operator == "**":
        return isinstance(left, int) and isinstance(right, int) and abs(right) > 1000
    if operator == "+":
        sized = isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple)
        return sized and len(left) + len(right) > MAX_BYTES
    return _repeated_size(left, right) > MAX_BYTES


def _repeated_size(left: Any, right: Any) -> int:
    for times, what in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(what, str | list | tuple):
            return times * len(what)
    return 0


class _Loader(jinja2.BaseLoader):
    """Finds templates in one folder and remembers every source, in the order of reading."""

    def __init__(self, main: Source, folder: str | Path | None) -> None:
        self.main = main
        self.folder = Path(folder) if folder is not None else None
        self.main_name = Path(main.path).name if folder is not None else main.path
        self.sources = {main.path: main}
        self._looked_for = {main.path: None}

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._looked_for)

    def get_source(
        self,
        environment: jinja2.Environment,  # noqa: ARG002 - Jinja's signature
        template: str,
    ) -> tuple[str, str, Callable[[], bool]]:
        if template == self.main_name:
            return self.main.text, self.main.path, lambda: True
        path = self._path(template)
        if path is None or not path.is_file():
            raise jinja2.TemplateNotFound(template)
        if len(self.sources) >= MAX_SOURCES:
            raise _refuse(str(path), "size", f"more than {MAX_SOURCES} files are included")
        source = self.sources[str(path)] = read_source(path)
        return source.text, source.path, lambda: True

    def _path(self, template: str) -> Path | None:
        parts = Path(template).parts
        if self.folder is None or "\0" in template or ".." in parts or Path(template).is_absolute():
            return None
        path = self.folder / template
        self._looked_for[str(path)] = None
        return path


def _template_problem(loader: _Loader, error: Exception) -> Problem:
    rule, message = _explain(loader, error)
    path, line = _place(loader, error)
    source = loader.sources.get(path)
    excerpt = ""
    if line is not None and source is not None:
        lines = source.text.split("\n")
        excerpt = lines[line - 1].strip()[:EXCERPT_LENGTH] if line <= len(lines) else ""
    return Problem(message, rule, line=line, path=path, excerpt=excerpt)


def _explain(loader: _Loader, error: Exception) -> tuple[str, str]:
    """Return the rule and the message of what a template raised."""
    if isinstance(error, jinja2.TemplateNotFound):
        return "template-missing", _missing(loader, error)
    if isinstance(error, jinja2.TemplateSyntaxError):
        return "template-syntax", f"Jinja: {error.message}"
    if isinstance(error, RecursionError):
        return "template-recursion", "Jinja: a macro, an include or an expression nests too deeply"
    text = str(error).strip()
    if isinstance(error, jinja2.UndefinedError):
        return "template-undefined", f"Jinja: {text}"
    kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
    return "template-error", f"Jinja: {kind}{text}"


def _missing(loader: _Loader, error: jinja2.TemplateNotFound) -> str:
    name = quoted(error.name)
    if loader.folder is None:
        return f"{name} can't be included: this text has no folder"
    hint = nearest(error.name, [path.name for path in _entries(loader.folder)])
    return f"{name} is not a file in the configuration's folder or below it{hint}"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:1000]
    except OSError:  # only a hint: the message does without it
        return []


def _place(loader: _Loader, error: Exception) -> tuple[str, int | None]:
    """Return file and line of the innermost template that was at work."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.filename or loader.main.path, error.lineno
    place: tuple[str, int | None] = (loader.main.path, None)
    step = error.__traceback__
    while step is not None:
        # Jinja rewrites the frames of its templates: file name and line are the template's.
        name = step.tb_frame.f_code.co_filename
        if name in loader.sources:
            place = (name, step.tb_lineno)
        step = step.tb_next
    return place


def _decode(name: str, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refuse(name, "encoding", "the file is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise _refuse(name, "binary", "this is a binary file, not text (it has a NUL byte)", line)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Counted in the given data: with a byte order mark, error.start is 3 bytes off.
        start = error.start
        line = error.object.count(b"\n", 0, start) + 1
        message = f"byte 0x{error.object[start]:02x} is not UTF-8; save the file as UTF-8"
        raise _refuse(name, "encoding", message, line) from error
    return _normalize(name, text)


def _normalize(name: str, text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise _refuse(name, "empty", "the file is empty; it needs at least 'jobs: []'")
    return text


def _refuse(path: str, rule: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(message, rule, line=line, path=path)], [path])
