"""Calling a job's function: arguments resolved, generators run out, coroutines awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from builds import retvals
from builds.models import BuildDependency
from jobcontrol.exceptions import InvalidRequest, RetvalError
from jobcontrol.utils import import_object
from jobs import tags
from jobs.redaction import Redactor


def load_inputs(build_id: int) -> dict[str, tuple[int, bytes | None]]:
    """Return each pinned input by its job: build id and sealed value (None: deleted since)."""
    rows = BuildDependency.objects.filter(build_id=build_id).values_list(
        "job_id", "dep_build_number", "dep_build__payload__retval"
    )
    return {
        job_id: (number, None if sealed is None else bytes(sealed))
        for job_id, number, sealed in rows
    }


def arguments(
    config: Mapping[str, Any],
    inputs: Mapping[str, tuple[int, bytes | None]],
    redactor: Redactor,
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and keyword arguments of a stored configuration.

    Each `!retval` becomes a fresh copy of the value that the pinned build returned. Raises
    RetvalError when an input was deleted or can't be loaded.
    """

    def retval(job_id: str) -> object:
        number, sealed = inputs.get(job_id, (0, None))
        if sealed is None:
            which = f"build #{number} of {job_id!r}" if number else f"a build of {job_id!r}"
            raise RetvalError(f"the return value of {which} is needed, and it was deleted.")
        return retvals.unseal(number, sealed)

    def secret(reference: tags.Secret) -> object:
        try:
            return redactor.value(reference)
        except KeyError:
            raise InvalidRequest(
                f"the secret {reference.name!r} is no longer in the configuration file."
            ) from None

    args, kwargs = (
        tags.resolve(tags.decode(config.get(key) or empty), retval=retval, secret=secret)
        for key, empty in (("args", []), ("kwargs", {}))
    )
    return list(args), dict(kwargs)


def needs_inputs(config: Mapping[str, Any]) -> bool:
    """Whether an argument is a `!retval`."""
    return bool(
        tags.retvals_in(tags.decode([config.get("args") or [], config.get("kwargs") or {}]))
    )


def call(name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Import `module:function`, call it and return its value.

    A generator is run to its end and the list of what it yielded is the value; a coroutine is
    awaited. Raises what the function raises, and ImportError, AttributeError or TypeError for a
    name that is not there or not callable.
    """
    function: Callable[..., Any] = import_object(name)
    if not callable(function):
        raise TypeError(f"{name} is no function but {type(function).__name__}")
    return _run_out(function(*args, **kwargs))


def text(function: Callable[[Any], object], value: object) -> str:
    """Return what a job's own code says about a value; called here so that it can be interrupted.

    Raises what the function raises.
    """
    return str(function(value))


def _run_out(value: Any) -> Any:
    if inspect.isgenerator(value):
        return list(value)
    if inspect.isasyncgen(value):
        return asyncio.run(_collect(value))
    if inspect.iscoroutine(value):
        return asyncio.run(_wait_for(value))
    return value


async def _wait_for(value: Awaitable[Any]) -> Any:
    return await value


async def _collect(values: AsyncGenerator[Any, Any]) -> list[Any]:
    return [value async for value in values]
