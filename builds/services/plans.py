"""Plans: found out from the database, written down as a whole, cancelled, resumed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Max

from builds import planning, queue, story
from builds.facts import Facts, read
from builds.models import Build, BuildDependency
from builds.plan_models import Plan
from builds.plan_status import MADE
from builds.planning import JobFacts, PlannedBuild, ReusedBuild
from builds.services import cancels, drafts
from builds.services.inputs import (
    latest_successful_builds,
    lock_inputs,
    usable_builds,
    wrong_pins,
)
from builds.services.wishes import (
    Request,
    refuse_unarmed_jobs,
    snapshot,
    snapshot_of_job,
)
from builds.status import job_links, own_stale_reasons, pinned_builds
from jobcontrol.exceptions import BuildStateError, InvalidRequest, MissingDependencies
from jobs import graph, registry, tags
from jobs.models import Job

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

Status = Build.Status


# --- What would be built --------------------------------------------------------------------------


def plan_for(request: Request, known: Facts | None = None) -> planning.Plan:
    """Return what a request would build, use and not be able to build; nothing is recorded.

    `known` are the facts of all jobs that the plan can speak of, where they were read already.
    A bounded number of queries for any number of jobs. Raises InvalidRequest for what can't be
    asked at all: a retired job, arguments that don't fit, builds or jobs that don't belong.
    """
    job = request.job
    snapshot(request)
    wrong = wrong_pins(job, request.dependency_builds, usable_builds(_numbers(request)))
    chosen = {*request.dependency_builds, *request.options.build_now}
    facts = _facts(job, chosen, known or _read(job))
    plan = planning.make_plan(job.pk, facts, request.options, request.dependency_builds)
    if wrong:
        raise InvalidRequest(wrong)
    return plan


def _numbers(request: Request) -> Iterable[int]:
    return request.dependency_builds.values()


def _read(job: Job) -> Facts:
    links = job_links()
    return read(planning.relevant_jobs(links, job.pk), links)


def _facts(target: Job, chosen: Collection[str], known: Facts) -> dict[str, JobFacts]:
    links = known.links
    wanted = planning.relevant_jobs(links, target.pk)
    jobs = list(_jobs(wanted).values())
    stale = own_stale_reasons(known)
    latest = latest_successful_builds(wanted)
    pins = {job.pk: _pins(job, links[job.pk]) for job in jobs}
    # What was chosen for the target stands in place of what its file pins.
    pins[target.pk] = {name: used for name, used in pins[target.pk].items() if name not in chosen}
    usable = usable_builds({number for own in pins.values() for number in own.values()})
    found = {}
    for job in jobs:
        retired = f"job {job.pk!r} is no longer in the configuration file." if job.retired else ""
        found[job.pk] = JobFacts(
            dependencies=links[job.pk],
            latest=latest.get(job.pk),
            stale=stale[job.pk],
            pins=pins[job.pk],
            protected=job.protected,
            refusal=retired or wrong_pins(job, pins[job.pk], usable),
        )
    return found


def _pins(job: Job, dependencies: Sequence[str]) -> dict[str, int]:
    own = pinned_builds(job)
    return {name: own[name] for name in dependencies if name in own}


def _jobs(names: Sequence[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for start in range(0, len(names), drafts.CHUNK):
        found |= Job.objects.in_bulk(names[start : start + drafts.CHUNK])
    return {name: found[name] for name in names if name in found}


# --- Writing it down ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """Builds that were written down together; no `plan` where it is but one."""

    target: Build
    builds: Sequence[Build]
    plan: Plan | None


def record_plan(request: Request, plan: planning.Plan, *, runner: str = "") -> Made:
    """Write down the builds of a plan, all or none, and wake workers for those that can run.

    With `runner` they are left to that process. In the caller's transaction. Raises
    MissingDependencies or InvalidRequest when the target is blocked.
    """
    _refuse_if_blocked(request.job, plan)
    jobs = _jobs([planned.job_id for planned in plan.builds])
    found = [
        _draft(jobs[planned.job_id], planned, request.trigger, request) for planned in plan.builds
    ]
    return _record(request, found, runner=runner)


def _refuse_if_blocked(job: Job, plan: planning.Plan) -> None:
    if not plan.why_not(job.pk):
        return
    lines = [f"{one.job_id!r}: {one.reason}" for one in plan.blocked]
    raise InvalidRequest(f"job {job.pk!r} can't be built: {'; '.join(lines).rstrip('.')}.")


def _draft(job: Job, planned: PlannedBuild, trigger: str, request: Request) -> drafts.Draft:
    is_target = job.pk == request.job.pk
    config, config_text = snapshot(request) if is_target else snapshot_of_job(job)
    return drafts.Draft(
        job=job,
        trigger=trigger if is_target else Build.Trigger.DEPENDENCY,
        config=config,
        config_text=config_text,
        inputs=planned.inputs,
        reason=planned.reason,
    )


def _record(
    request: Request,
    found: Sequence[drafts.Draft],
    *,
    runner: str = "",
    resumes: Plan | None = None,
) -> Made:
    lock_inputs(
        (draft.job, {name: used for name, used in draft.inputs.items() if used}) for draft in found
    )
    plan = None
    if len(found) > 1 or resumes is not None:
        plan = Plan.objects.create(
            job=request.job,
            requested_by=request.requested_by,
            wish=_wish(request) | {MADE: len(found)},
            runner=runner,
            resumes=resumes,
        )
    made = drafts.record(
        found,
        status=Status.CREATED if runner else Status.QUEUED,
        requested_by=request.requested_by,
        plan=plan,
        armed=request.arm,
        in_place=bool(runner),
    )
    _tell(made, request, plan)
    ready = [build.queue for build in made if build.status == Status.QUEUED]
    transaction.on_commit(partial(queue.wake_each, ready))
    target = next((build for build in made if build.job_id == request.job.pk), made[-1])
    return Made(target=target, builds=made, plan=plan)


def _tell(made: Sequence[Build], request: Request, plan: Plan | None) -> None:
    facts: dict[str, Any] = {"trigger": request.trigger, "plan": plan.pk if plan else None}

    def tell() -> None:
        for build in made:
            names: dict[str, Any] = {"build": build.pk, "job": build.job_id}
            story.tell(logger, "requested", **names, **facts, user=request.requested_by)

    transaction.on_commit(tell)


# --- Cancelling and asking again ------------------------------------------------------------------


def cancel_plan(
    *,
    plan: Plan,
    requested_by: User | None = None,
    why: str = "",
    note: Callable[[Sequence[int]], object] | None = None,
) -> list[int]:
    """Cancel what has not ended of a plan; return the numbers of those builds.

    Those that run are told to end. `why` and `note`: see `cancel_builds`.
    """
    unfinished = plan.builds.filter(status__in=Build.UNFINISHED, cancel_requested=None)
    found: list[int] = []
    # Again, for the retry of a build that failed just now.
    while numbers := list(unfinished.order_by("pk").values_list("pk", flat=True)):
        found += cancels.cancel_builds(
            builds=numbers, requested_by=requested_by, why=why, note=note
        )
    return found


def resumption_of(plan: Plan) -> planning.Plan:
    """Return what `resume_plan` would build again and what it would use; nothing is recorded.

    Raises what that raises, but for ProtectedJob.
    """
    current = current_builds(plan)
    again = [one for one in current if not one.success]
    if not again:
        raise BuildStateError(
            f"nothing of plan {plan.pk} is left to build: {_what_is_left(current, plan)}."
        )
    _refuse_to_resume(plan, again)
    newest = {one.job_id: one.pk for one in current}
    attempts = {
        number: newest[name] for number, name in plan.builds.values_list("pk", "job_id").order_by()
    }
    builds = tuple(_resumed(again, _jobs([one.job_id for one in again]), attempts))
    used = {
        (name, number): None
        for build in builds
        for name, number in build.inputs.items()
        if number is not None
    }
    reused = tuple(ReusedBuild(name, number, "used as it is") for name, number in used)
    return planning.Plan(plan.job_id, builds, reused)


def refuse_unexpected(plan: planning.Plan, expected: planning.Plan | None) -> None:
    """Raise InvalidRequest when a plan is another one than was looked at."""
    if expected is not None and plan != expected:
        raise InvalidRequest("what would be built has changed: look at it again.")


def resume_plan(
    *,
    plan: Plan,
    trigger: str,
    requested_by: User | None = None,
    arm: bool = False,
    expected: planning.Plan | None = None,
) -> Made:
    """Build again what did not succeed in a plan, using what did; return the new plan's builds.

    With the configuration as it is now. Raises BuildStateError for a plan that has not ended, has
    nothing left to build, or was resumed before; ProtectedJob unless what is protected is armed;
    InvalidRequest or MissingDependencies when a job of it can't be built any more, or when that is
    not the `expected` resumption.
    """
    with transaction.atomic():
        # Of two who resume it at the same moment one comes after the other.
        Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)
        planned = resumption_of(plan)
        refuse_unexpected(planned, expected)
        refuse_unarmed_jobs(planned.protected, arm=arm)
        request = request_of(plan, trigger, requested_by, arm=arm)
        jobs = _jobs([one.job_id for one in planned.builds])
        found = [_draft(jobs[one.job_id], one, trigger, request) for one in planned.builds]
        return _record(request, found, resumes=plan)


def current_builds(plan: Plan) -> list[Build]:
    """Return the newest build of each job of a plan, in order: a retry in place of what failed."""
    newest = plan.builds.order_by().values("job").annotate(newest=Max("pk")).values("newest")
    builds = Build.objects.filter(pk__in=newest).select_related("job").order_by("pk")
    return list(builds.defer("exception_message"))


def _refuse_to_resume(plan: Plan, again: Sequence[Build]) -> None:
    unfinished = [f"#{one.pk}" for one in again if not one.finished]
    if unfinished:
        names = ", ".join(unfinished[: planning.NAMED])
        raise BuildStateError(f"plan {plan.pk} has not ended: wait for build {names}, or cancel.")
    follower = plan.resumed_by.order_by("pk").first()
    if follower is not None:
        text = f"plan {plan.pk} was resumed before, as plan {follower.pk}: resume that one."
        raise BuildStateError(text)
    retired = [repr(one.job_id) for one in again if one.job.retired]
    if retired:
        names = ", ".join(retired)
        raise InvalidRequest(
            f"plan {plan.pk} can't be resumed: {names} stands in the configuration file no more."
        )


def _what_is_left(current: Sequence[Build], plan: Plan) -> str:
    if not current:
        return "its builds were deleted"
    whole = len(current) >= plan.wish.get(MADE, 0)
    return "all of it succeeded" if whole else "others were deleted, and the rest succeeded"


def _resumed(
    again: Sequence[Build], jobs: Mapping[str, Job], attempts: Mapping[int, int]
) -> list[PlannedBuild]:
    """Return what is built again, in order: what succeeded is used, also where it is older now.

    `attempts` has the newest try of each build of the plan.
    """
    links = job_links()
    used = _used_by([one.pk for one in again])
    wanted = {one.job_id for one in again}
    ended = {one.pk for one in again}
    others = {dep for name in wanted for dep in links[name] if dep not in wanted}
    latest = latest_successful_builds(others)
    pins = {name: pinned_builds(job) for name, job in jobs.items()}
    named = [*used.values(), *pins.values()]
    numbers = {number for inputs in named for number in inputs.values()}
    usable = usable_builds(attempts.get(number, number) for number in numbers)
    why = {one.job_id: _why_again(one) for one in again}
    order = graph.topological_order({name: links[name] for name in jobs})
    found = []
    for name in order:
        inputs: dict[str, int | None] = {}
        for dep in links[name]:
            # What it used, or is to use by the file; then what is built again. That comes first
            # where it waited for it: it was to be built in the place of what the file pins.
            number = used.get(name, {}).get(dep)
            before = attempts.get(number, number) if number else None
            own = [] if before in ended else [before, pins[name].get(dep)]
            fit = [number for number in own if number and usable.get(number) == dep]
            otherwise = None if dep in wanted else latest.get(dep)
            inputs[dep] = fit[0] if fit else otherwise
        missing = [dep for dep in links[name] if dep not in wanted and inputs[dep] is None]
        if missing:
            raise MissingDependencies(name, missing)
        found.append(PlannedBuild(name, why[name], inputs, jobs[name].protected))
    return found


def _used_by(numbers: Sequence[int]) -> dict[str, dict[str, int]]:
    """Return the builds that these builds use, by the job of each and of what it uses."""
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(numbers), drafts.CHUNK):
        links = BuildDependency.objects.filter(build__in=numbers[start : start + drafts.CHUNK])
        for name, dep, number in links.values_list("build__job_id", "job_id", "dep_build_number"):
            found.setdefault(name, {})[dep] = number
    return found


def _why_again(build: Build) -> str:
    return f"build #{build.pk} {'was cancelled' if build.status == Status.CANCELLED else 'failed'}"


def request_of(plan: Plan, trigger: str, user: User | None, *, arm: bool = False) -> Request:
    """Return what was asked for by a plan, as its target is asked for once more.

    Without what was to be built beside it: that is said by what is left of the plan.
    """
    wish = plan.wish
    return Request(
        job=plan.job,
        trigger=trigger,
        requested_by=user,
        arm=arm,
        args=None if wish.get("args") is None else tags.decode(wish["args"]),
        kwargs=None if wish.get("kwargs") is None else tags.decode(wish["kwargs"]),
    )


def _wish(request: Request) -> dict[str, Any]:
    """Return what was asked for, as it is kept."""
    options = request.options
    redactor = registry.redactor()
    return {
        "args": None if request.args is None else tags.encode(request.args, redactor),
        "kwargs": None if request.kwargs is None else tags.encode(request.kwargs, redactor),
        "dependency_builds": dict(request.dependency_builds),
        "dependencies": str(options.dependencies),
        "rebuild": sorted(options.rebuild),
        "rebuild_all": options.rebuild_all,
        "build_now": sorted(options.build_now),
    }
