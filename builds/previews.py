"""What a request would run: shown before it is asked for, and again when it is armed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builds.services.inputs import choose_inputs
from builds.services.wishes import Request, snapshot
from jobs import tags
from jobs.docs import call_code_of
from jobs.models import Job


@dataclass(frozen=True)
class Preview:
    """What would run: the call as Python, the build used for each dependency, the YAML."""

    job: Job
    call: str
    inputs: dict[str, int]
    config_text: str


def preview(request: Request) -> Preview:
    """Return what `request` would run; nothing is recorded.

    Raises what asking would raise: InvalidRequest, MissingDependencies.
    """
    return preview_with(request, choose_inputs(request.job, request.dependency_builds))


def preview_with(request: Request, inputs: Mapping[str, int]) -> Preview:
    """Return what `request` would run with these inputs. Raises InvalidRequest."""
    config, config_text = snapshot(request)
    return Preview(
        job=request.job,
        call=call_code_of(request.job.function, tags.decode(config)),
        inputs=dict(inputs),
        config_text=config_text,
    )
