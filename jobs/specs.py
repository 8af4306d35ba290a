"""One job of the configuration file: typed, checked, and as it was written."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, SkipValidation, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from jobs import retention, schedules
from jobs.policies import (
    DEFAULT_QUEUE,
    MAX_CONCURRENCY,
    RetryPolicy,
    duration,
    queue_problem,
)
from jobs.problems import describe, nearest, quoted
from jobs.schedules import Schedule
from jobs.tags import BLOCK_KEYS

MAX_ID_LENGTH = 200
MAX_FUNCTION_LENGTH = 500
MAX_BUILD_ID = 2**63 - 1
MAX_PRIORITY = 2**31 - 1
REBUILD = ("manual", "auto")

# Old spellings and what they mean.
_ALIASES = {"protect": "protected", "cleanup_function": "cleanup"}


class SpecProblem(NamedTuple):
    """A mistake in one job's block; `place` leads to it: a key, then an item or key within."""

    rule: str
    message: str
    place: tuple[object, ...] = ()


def _wrong(rule: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"rule": rule, "message": message})


def _wrong_type(wanted: str, value: object) -> PydanticCustomError:
    return _wrong("type", f"must be {wanted}, not {describe(value)}")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    raise _wrong_type("text", value)


def _id(value: object) -> str:
    if isinstance(value, str) or type(value) is int:
        text = str(value)
        problem = id_problem(text)
        if problem:
            raise _wrong("id", problem)
        return text
    raise _wrong_type("text or a whole number", value)


def id_problem(text: str) -> str:
    """Say what is wrong with a job id, "" when nothing is."""
    if not text.strip():
        return "must not be empty"
    if len(text) > MAX_ID_LENGTH:
        return f"has {len(text)} characters; at most {MAX_ID_LENGTH} are allowed"
    if text in (".", ".."):
        # Browsers take these out of addresses, however they are written there.
        return "must not be '.' or '..': such a job would have no address"
    return _control_problem(text)


def _control_problem(text: str) -> str:
    if text.isprintable():
        return ""
    bad = next((char for char in text if unicodedata.category(char) in ("Cc", "Cs")), None)
    return f"must not hold the control character U+{ord(bad):04X}" if bad else ""


def _tag(value: object) -> str:
    text = _text(value)
    problem = "must not be empty" if not text.strip() else _control_problem(text)
    if problem:
        raise _wrong("tag-text", problem)
    return text


def _function(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type("'module:name'", value)
    module, colon, name = value.partition(":")
    if not (colon and _is_dotted(module) and _is_dotted(name)):
        message = (
            f"must be 'module:name' such as 'mypackage.mymodule:myfunction', not {value!r:.80}"
        )
        raise _wrong("function", message)
    if len(value) > MAX_FUNCTION_LENGTH:
        raise _wrong("function", f"is longer than {MAX_FUNCTION_LENGTH} characters")
    return value


@lru_cache(maxsize=4096)  # many jobs have the same function
def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))


def _list(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    raise _wrong_type("a list", value)


def _mapping(value: object) -> object:
    if isinstance(value, dict):
        return value
    raise _wrong_type("a mapping", value)


def _argument_name(value: object) -> str:
    if isinstance(value, str):
        return value
    raise _wrong("argument-name", f"an argument's name must be text, not {describe(value)}")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong_type("true or false", value)


def _priority(value: object) -> int:
    if type(value) is not int:
        raise _wrong_type("a whole number", value)
    if abs(value) > MAX_PRIORITY:
        raise _wrong("range", f"must lie between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    return value


def _concurrency(value: object) -> int:
    if type(value) is not int:
        raise _wrong_type("a whole number", value)
    if not 1 <= value <= MAX_CONCURRENCY:
        raise _wrong("range", f"must lie between 1 and {MAX_CONCURRENCY}")
    return value


def _queue(value: object) -> str:
    name = _text(value)
    problem = queue_problem(name)
    if problem:
        raise _wrong("queue", problem)
    return name


def _timeout(value: object) -> float:
    try:
        return duration(value)
    except ValueError as error:
        raise _wrong("duration", str(error)) from None


def _retries(value: object) -> RetryPolicy:
    try:
        return RetryPolicy.read(value)
    except ValueError as error:
        raise _wrong("retries", "; ".join(str(error).splitlines())) from None


def _retention(value: object) -> dict[str, Any]:
    try:
        return retention.read_own(value)
    except ValueError as error:
        raise _wrong("retention", "; ".join(str(error).splitlines())) from None


def _rebuild(value: object) -> str:
    if value in REBUILD:
        return str(value)
    wanted = " or ".join(REBUILD)
    hint = nearest(value, REBUILD) if isinstance(value, str) else ""
    raise _wrong("rebuild", f"must be {wanted}, not {quoted(value)}{hint}")


def _build_id(value: object) -> int:
    if type(value) is not int:
        raise _wrong_type("the number of a build", value)
    if not 0 < value <= MAX_BUILD_ID:
        raise _wrong("range", "must be the number of a build")
    return value


_Text = Annotated[str, BeforeValidator(_text)]
_Id = Annotated[str, BeforeValidator(_id)]
_Function = Annotated[str, BeforeValidator(_function)]
_Flag = Annotated[bool, BeforeValidator(_flag)]
_Ids = Annotated[list[_Id], BeforeValidator(_list)]
_Tags = Annotated[list[Annotated[str, BeforeValidator(_tag)]], BeforeValidator(_list)]
_Arguments = Annotated[dict[Annotated[str, BeforeValidator(_argument_name)], Any],
                       BeforeValidator(_mapping)]  # fmt: skip
_Pins = Annotated[dict[_Id, Annotated[int, BeforeValidator(_build_id)]], BeforeValidator(_mapping)]


class JobSpec(BaseModel):
    """A job as the file gives it.

    `dependencies` has the explicit ones, then those that `!retval` implies, each once. `config` is
    the job's block as it was written, unknown keys and old spellings included.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: _Id
    function: _Function
    title: _Text = ""
    notes: _Text = ""
    args: Annotated[list[Any], BeforeValidator(_list)] = []
    kwargs: _Arguments = {}
    dependencies: _Ids = []
    tags: _Tags = []
    protected: _Flag = False
    cleanup: _Function | None = None
    repr_function: _Function | None = None
    pinned_builds: _Pins = {}
    priority: Annotated[int, BeforeValidator(_priority)] = 0
    concurrency: Annotated[int | None, BeforeValidator(_concurrency)] = None
    queue: Annotated[str, BeforeValidator(_queue)] = DEFAULT_QUEUE
    timeout: Annotated[float | None, BeforeValidator(_timeout)] = None
    retries: Annotated[RetryPolicy | None, BeforeValidator(_retries)] = None
    retention: Annotated[dict[str, Any] | None, BeforeValidator(_retention)] = None
    rebuild: Annotated[str, BeforeValidator(_rebuild)] = "manual"
    schedule: Annotated[tuple[Schedule, ...], SkipValidation] = ()
    config: Annotated[dict[str, Any], SkipValidation] = {}

    @property
    def rebuilds_itself(self) -> bool:
        """Whether new inputs start it; a protected job waits to be armed all the same."""
        return self.rebuild == "auto" and not self.protected


def build_spec(
    block: Mapping[Any, Any], retvals: list[str]
) -> tuple[JobSpec | None, list[SpecProblem]]:
    """Return the spec of a job's block, or None and everything that is wrong with it.

    `retvals` are the jobs of every `!retval` in it.
    """
    block = _with_plain_on(block)
    data = {key: block[key] for key in block if key in BLOCK_KEYS and block[key] is not None}
    problems = _merge_aliases(data)
    if isinstance(data.get("pinned_builds"), dict):
        pins = data["pinned_builds"]
        data["pinned_builds"] = {job: build for job, build in pins.items() if build is not None}
    for name in ("id", "function"):
        if name not in data:
            problems.append(SpecProblem(f"missing-{name}", f"the job has no {name!r}"))
            data[name] = "missing:missing"
    data["schedule"], mistakes = schedules.read(data.get("schedule"))
    problems += [SpecProblem("schedule", text, ("schedule", *place)) for place, text in mistakes]
    data["config"] = block
    try:
        spec = JobSpec.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        problems.extend(_spec_problem(details, block) for details in errors)
        return None, problems
    if problems:
        return None, problems
    return _with_implied(spec, retvals), []


def _with_plain_on(block: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the block with `on` in its `retries`, where YAML reads the bare word as true."""
    retries = block.get("retries")
    if not (isinstance(retries, dict) and True in retries):
        return block
    named = {"on" if key is True else key: value for key, value in retries.items()}
    return {**block, "retries": named}


def _with_implied(spec: JobSpec, retvals: list[str]) -> JobSpec:
    wanted = list(dict.fromkeys([*spec.dependencies, *retvals]))
    tags = list(dict.fromkeys(spec.tags))
    if wanted == spec.dependencies and tags == spec.tags:
        return spec
    return spec.model_copy(update={"dependencies": wanted, "tags": tags})


def _merge_aliases(data: dict[str, Any]) -> list[SpecProblem]:
    problems = []
    for old, name in _ALIASES.items():
        if old not in data:
            continue
        if name in data and data[name] != data[old]:
            message = f"says something else than {name!r}; keep one of them"
            problems.append(SpecProblem("conflict", message, (old,)))
        data.setdefault(name, data[old])
        del data[old]
    return problems


def _spec_problem(details: ErrorDetails, block: Mapping[Any, Any]) -> SpecProblem:
    context = details.get("ctx", {})
    place = tuple(step for step in details["loc"] if step != "[key]")
    key = str(place[0])
    if key not in block:  # written in its old spelling
        key = next((old for old, name in _ALIASES.items() if name == key and old in block), key)
    item = ""
    if len(place) > 1:
        step = place[1]
        item = f"item {step + 1}: " if isinstance(step, int) else f"{quoted(step)}: "
    message = str(context.get("message", details["msg"]))
    rule = str(context.get("rule", details["type"]))
    return SpecProblem(rule, item + message, (key, *place[1:]))
