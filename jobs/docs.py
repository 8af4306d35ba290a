"""What a job's page tells about its function: the call that will run (see `jobs.rst` for texts).

The signature and the docstring themselves are found by `jobs.inspection` and stand in `Job.docs`.
"""

from __future__ import annotations

import datetime
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from jobcontrol.utils.text import clean_text
from jobs.tags import Retval, Secret, Text

MAX_CALL = 100_000
_WIDTH = 88


def call_code(
    *, function: str, args: Sequence[object] = (), kwargs: Mapping[Any, object] | None = None
) -> str:
    """Return the call of a job as Python code: the import, then the call with its values.

    `!retval` and `!secret` stand there as `Retval('job')` and `Secret('name')`. At most 100,000
    characters; longer ones are cut with a marker.
    """
    start, callee = _import_code(function)
    values = [_code(value, 1) for value in args]
    odd = {}
    for name, value in (kwargs or {}).items():
        if isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name):
            values.append(f"{name}={_code(value, 1)}")
        else:
            odd[name] = value
    if odd:
        values.append(f"**{_code(odd, 1)}")
    one_line = f"{callee}({', '.join(values)})"
    if len(one_line) > _WIDTH or "\n" in one_line:
        one_line = f"{callee}(\n" + "".join(f"    {value},\n" for value in values) + ")"
    return clean_text(f"{start}\n\n{one_line}", MAX_CALL)


def call_code_of(function: str, config: Mapping[str, Any]) -> str:
    """Return the call of a job from its function and its decoded configuration block."""
    return call_code(
        function=function,
        args=config.get("args") or (),
        kwargs=config.get("kwargs") or {},
    )


def _import_code(function: str) -> tuple[str, str]:
    """Return the import line and the expression that is called."""
    module, _, name = function.partition(":")
    words = [*module.split("."), *name.split(".")]
    if all(word.isidentifier() and not keyword.iskeyword(word) for word in words):
        return f"from {module} import {name.partition('.')[0]}", name
    return "from jobcontrol.utils import import_object", f"import_object({function!r})"


def _code(value: object, depth: int) -> str:
    """Return `value` as Python code, on more lines where one would be too long."""
    if isinstance(value, Mapping):
        items = [
            f"{_code(key, depth + 1)}: {_code(item, depth + 1)}" for key, item in value.items()
        ]
        return _bracketed("{", items, "}", depth)
    if isinstance(value, list):
        return _bracketed("[", [_code(item, depth + 1) for item in value], "]", depth)
    if isinstance(value, tuple):
        end = ",)" if len(value) == 1 else ")"
        return _bracketed("(", [_code(item, depth + 1) for item in value], end, depth)
    if isinstance(value, (set, frozenset)) and value:
        return _bracketed("{", sorted(_code(item, depth + 1) for item in value), "}", depth)
    return _scalar_code(value)


def _scalar_code(value: object) -> str:
    if isinstance(value, Retval):
        return f"Retval({value.job_id!r})"
    if isinstance(value, Secret):
        return f"Secret({value.name!r})"
    if isinstance(value, Text):
        return " + ".join(_scalar_code(part) for part in value.parts) or "''"
    return _plain_code(value)


def _plain_code(value: object) -> str:
    if isinstance(value, float):
        text = repr(value)
        return text if text.lstrip("-")[:1].isdigit() else f"float({text!r})"
    if isinstance(value, datetime.date):
        return repr(value).removeprefix("datetime.")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 10_000:
        return hex(value)  # Python refuses to write such numbers in decimal
    return repr(value)


def _bracketed(start: str, items: list[str], end: str, depth: int) -> str:
    one_line = start + ", ".join(items) + end
    if len(one_line) + 4 * depth <= _WIDTH and "\n" not in one_line:
        return one_line
    inner, outer = "    " * (depth + 1), "    " * depth
    return f"{start}\n" + "".join(f"{inner}{item},\n" for item in items) + outer + end[-1]
