"""Whether arguments fit a job's function, without importing it: from what inspection found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from jobs.models import Job


def problem(job: Job, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Say why the arguments don't fit the job's function; "" when they do, or nobody knows."""
    known = job.docs.get("parameters")
    if known is None:
        return ""
    try:
        _signature(known).bind(*args, **kwargs)
    except TypeError as error:
        return f"the arguments don't fit {job.docs.get('signature') or job.function}: {error}"
    return ""


def _signature(parameters: Sequence[Mapping[str, Any]]) -> Signature:
    return Signature(
        [
            Parameter(
                str(known["name"]),
                getattr(Parameter, str(known["kind"])),
                default=Parameter.empty if known["required"] else None,
            )
            for known in parameters
        ]
    )
