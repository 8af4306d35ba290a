"""What a request would run: shown before it is asked for, and again when it is armed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builds import planning
from builds.services.inputs import choose_inputs
from builds.services.wishes import Request, snapshot
from jobs import tags
from jobs.docs import call_code_of
from jobs.models import Job


@dataclass(frozen=True)
class Preview:
    """What would run: the call as Python, the build used for each dependency, the YAML.

    In place of a build that the plan makes first stands None.
    """

    job: Job
    call: str
    inputs: dict[str, int | None]
    config_text: str


def preview(request: Request) -> Preview:
    """Return what `request` would run; nothing is recorded.

    Raises what asking would raise: InvalidRequest, MissingDependencies.
    """
    return preview_with(request, choose_inputs(request.job, request.dependency_builds))


def preview_with(request: Request, inputs: Mapping[str, int | None]) -> Preview:
    """Return what `request` would run with these inputs. Raises InvalidRequest."""
    config, config_text = snapshot(request)
    return Preview(
        job=request.job,
        call=call_code_of(request.job.function, tags.decode(config)),
        inputs=dict(inputs),
        config_text=config_text,
    )


def previews_of(request: Request, plan: planning.Plan) -> list[Preview]:
    """Return what a plan would run of its target and of its protected jobs, the target first.

    Nothing of a target that is not built.
    """
    shown = [one for one in plan.builds if one.protected or one.job_id == request.job.pk]
    others = [one.job_id for one in shown if one.job_id != request.job.pk]
    jobs = {**(Job.objects.in_bulk(others) if others else {}), request.job.pk: request.job}
    found = []
    for planned in sorted(shown, key=lambda one: one.job_id != request.job.pk):
        is_target = planned.job_id == request.job.pk
        own = Request(job=jobs[planned.job_id], trigger=request.trigger)
        found.append(preview_with(request if is_target else own, planned.inputs))
    return found
