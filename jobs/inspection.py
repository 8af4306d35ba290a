"""What the jobs' functions are, found by importing them in a process of its own.

`python -m jobs.inspection FD` reads its questions as JSON on stdin and writes one JSON line for
each answer to the file descriptor FD, which no job code knows. Importing runs code of others: it
may print, exit, hang or crash. So this process has no other task, stdout and stderr lead nowhere,
and the parent (`jobs.checks`) notices when it dies or takes too long, and goes on with a new one.

Lines written: `{"module": name}` before an import, `{"file": path}` after it (null when unknown),
`{"answer": index, "problem": …, "signature": …, "docstring": …}` for each question, `{"fatal": …}`
when Django can't be set up, and `{"done": true}` at the end.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import os
import re
import reprlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import django

MAX_DOCSTRING = 100_000
MAX_SIGNATURE = 10_000
MAX_PROBLEM = 2_000
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class _DefaultRepr(reprlib.Repr):
    """repr() of default values: bounded, and the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 20

    def text(self, value: object) -> str:
        """Return the repr of `value` without memory addresses; a failing one is said to fail."""
        try:
            return _ADDRESS.sub("", self.repr(value))
        except BaseException:  # noqa: BLE001 - code of others: it may raise anything at all
            return f"<{type(value).__name__} whose repr fails>"


_default_repr = _DefaultRepr()


def _annotation(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return _ADDRESS.sub("", inspect.formatannotation(value))
    except BaseException:  # noqa: BLE001 - code of others
        return _default_repr.text(value)


def _parameter(parameter: inspect.Parameter) -> str:
    text: str = parameter.name
    if parameter.kind is parameter.VAR_POSITIONAL:
        text = f"*{text}"
    elif parameter.kind is parameter.VAR_KEYWORD:
        text = f"**{text}"
    annotated = parameter.annotation is not inspect.Parameter.empty
    if annotated:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        equals = " = " if annotated else "="
        text += equals + _default_repr.text(parameter.default)
    return text


def signature_text(name: str, signature: inspect.Signature | None) -> str:
    """Return `name(a, b=1)`; `name(...)` when Python does not know the signature."""
    if signature is None:
        return f"{name}(...)"
    parts: list[str] = []
    after_positional_only = False
    needs_star = all(p.kind is not p.VAR_POSITIONAL for p in signature.parameters.values())
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            after_positional_only = True
        elif after_positional_only:
            parts.append("/")
            after_positional_only = False
        if parameter.kind is parameter.KEYWORD_ONLY and needs_star:
            parts.append("*")
            needs_star = False
        parts.append(_parameter(parameter))
    if after_positional_only:
        parts.append("/")
    text = f"{name}({', '.join(parts)})"
    if signature.return_annotation is not inspect.Signature.empty:
        text += f" -> {_annotation(signature.return_annotation)}"
    return text[:MAX_SIGNATURE]


def signature_of(function: object) -> inspect.Signature | None:
    """Return the signature of any callable, or None where it has none that can be read."""
    try:
        return inspect.signature(function)  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - builtins have none; __signature__ may raise anything
        return None


def docstring_of(function: object) -> str:
    """Return the docstring, its indentation removed; "" when there is none."""
    try:
        text = inspect.getdoc(function)
    except BaseException:  # noqa: BLE001 - __doc__ may be a property that raises
        return ""
    return str(text or "")[:MAX_DOCSTRING]


def parameters_of(signature: inspect.Signature | None) -> list[dict[str, Any]] | None:
    """Return name, kind and whether required of each parameter; None when they are not known."""
    if signature is None:
        return None
    return [
        {
            "name": parameter.name,
            "kind": parameter.kind.name,
            "required": parameter.default is inspect.Parameter.empty,
        }
        for parameter in signature.parameters.values()
    ]


def arguments_problem(signature: inspect.Signature | None, args: int, kwargs: list[str]) -> str:
    """Say why `args` positional values and the named ones don't fit; "" when they do."""
    if signature is None:
        return ""
    try:
        signature.bind(*([None] * args), **dict.fromkeys(kwargs))
    except TypeError as error:
        return f"its arguments don't fit: {error}"
    return ""


def _said(error: BaseException) -> str:
    """Return `Type: message` of any exception."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - code of others
        text = "(its text can't be shown)"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _place(trace: TracebackType | None) -> str:
    """Return where the job's own code failed: " (file, line N)" of its last frame, or ""."""
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen ")
        if f"{os.sep}importlib{os.sep}" not in frame.filename
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def import_problem(module: str, error: BaseException) -> str:
    """Say why `module` could not be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name
        if missing == module or module.startswith(missing + "."):
            why = ": its parent is not a package" if "not a package" in str(error) else ""
            return (
                f"there is no module {missing!r}{why}. Install it, correct the job's function, "
                "or name its folder in python_path"
            )
    if isinstance(error, SystemExit):
        return f"module {module!r} exits when it is imported{_place(error.__traceback__)}"
    place = "" if isinstance(error, SyntaxError) else _place(error.__traceback__)
    return f"module {module!r} can't be imported: {_said(error)}{place}"[:MAX_PROBLEM]


def _attribute(imported: object, module: str, name: str) -> tuple[object, str]:
    """Return the object called `name` in an imported module, and the problem if there is one."""
    found = imported
    where = f"module {module!r}"
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = difflib.get_close_matches(part, [str(key) for key in vars_of(found)], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return None, f"{where} has no {part!r}{hint}"
        except BaseException as error:  # noqa: BLE001 - __getattr__ of others
            return None, f"{part!r} of {where} can't be read: {_said(error)}"[:MAX_PROBLEM]
        where = f"{part!r} of {where}"
    return found, ""


def vars_of(found: object) -> Iterable[object]:
    """Return the names that an object holds, or nothing where it keeps none."""
    names = getattr(found, "__dict__", {})
    return list(names) if isinstance(names, Mapping) else []


def describe(imported: object, question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one question about an imported module: problem, signature and docstring."""
    name = question["name"]
    found, problem = _attribute(imported, question["module"], name)
    if problem:
        return {"problem": problem, "signature": "", "parameters": None, "docstring": ""}
    if not callable(found):
        kind = type(found).__name__
        problem = f"{name!r} of module {question['module']!r} can't be called: it is of type {kind}"
        return {"problem": problem, "signature": "", "parameters": None, "docstring": ""}
    signature = signature_of(found)
    return {
        "problem": arguments_problem(signature, question["args"], question["kwargs"]),
        "signature": signature_text(name, signature),
        "parameters": parameters_of(signature),
        "docstring": docstring_of(found),
    }


def _import(module: str) -> tuple[object, str]:
    """Import `module`; return it and the problem, or ""."""
    folder = os.getcwd()
    try:
        return importlib.import_module(module), ""
    except BaseException as error:  # noqa: BLE001 - also SystemExit and KeyboardInterrupt
        return None, import_problem(module, error)
    finally:
        # What a module left behind must not be blamed on the next one.
        signal.alarm(0)
        os.chdir(folder)


def answer_all(questions: list[dict[str, Any]], write: Callable[[dict[str, Any]], None]) -> None:
    """Answer the questions, module by module, in the order in which the modules first appear."""
    by_module: dict[str, list[dict[str, Any]]] = {}
    for question in questions:
        by_module.setdefault(question["module"], []).append(question)
    for module, asked in by_module.items():
        write({"module": module})
        imported, problem = _import(module)
        path = getattr(imported, "__file__", None)
        write({"file": path if isinstance(path, str) else None})
        for question in asked:
            nothing = {"problem": problem, "signature": "", "parameters": None, "docstring": ""}
            answer = nothing if problem else describe(imported, question)
            write({"answer": question["index"], **answer})


def _line_writer(descriptor: int) -> Callable[[dict[str, Any]], None]:
    owner, dumps, write_bytes = os.getpid(), json.dumps, os.write

    def write(line: dict[str, Any]) -> None:
        if os.getpid() != owner:
            os._exit(0)  # a module forked and came back here: its copy has nothing to say
        data = (dumps(line) + "\n").encode("ascii")
        while data:
            data = data[write_bytes(descriptor, data) :]

    return write


def main() -> None:
    """Read the questions, import, answer, and leave without running anything more of theirs."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    asked = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = asked["sys_path"]
    write = _line_writer(descriptor)
    if asked["settings"]:
        try:
            django.setup()
        except BaseException as error:  # noqa: BLE001 - reported to the parent, which raises
            write({"fatal": _said(error)})
            os._exit(1)
    answer_all(asked["questions"], write)
    write({"done": True})
    os._exit(0)  # no exit handlers, no waiting for threads that a module started


if __name__ == "__main__":
    main()
