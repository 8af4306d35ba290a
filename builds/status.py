"""Where jobs stand: derived from their builds, in a bounded number of queries for any number.

A job is `not_built`, `outdated`, `success` or `failed`; what runs now and how the newest build
ended are said beside that, never instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, Subquery, Window
from django.db.models.functions import RowNumber

from builds.models import Build, BuildDependency, BuildQuerySet
from jobs import graph
from jobs.models import Job, JobDependency
from jobs.tags import decode

NOT_BUILT = "not_built"
OUTDATED = "outdated"
SUCCESS = "success"
FAILED = "failed"

UNFINISHED_SHOWN = 20  # per job; a job may have thousands of builds in the queue
_CHUNK = 5_000  # jobs per round of queries: databases bound the parameters of one statement

# Keys of a job's block that change neither what runs nor with what: editing them leaves the
# latest build as good as it was. Inputs are compared by themselves.
_BESIDE_THE_RUN = frozenset(
    {
        *("id", "title", "notes", "tags", "protect", "protected", "dependencies", "pinned_builds"),
        *("cleanup", "cleanup_function", "repr_function"),
        *("priority", "timeout", "retries", "retention", "concurrency", "queue", "schedule"),
        "rebuild",
    }
)


@dataclass(frozen=True)
class Outcome:
    """How a build ended."""

    build_id: int
    status: str
    end_time: datetime | None
    reason: str = ""


@dataclass(frozen=True)
class JobStatus:
    """Where one job stands.

    `status` is not_built, outdated, success or failed. `stale_reasons` says why it is outdated:
    first `own_stale_reasons`, then the dependencies that are outdated themselves.
    `last_outcome` is the newest finished build, whichever way it ended. `unfinished` are its
    newest builds that wait or run (`UNFINISHED_SHOWN` at most). `missing` names the dependencies
    without a successful build: with one of these the job can't be built.
    """

    status: str = NOT_BUILT
    stale_reasons: tuple[str, ...] = ()
    own_stale_reasons: tuple[str, ...] = ()
    running: bool = False
    latest_successful_build_id: int | None = None
    last_failed_build_id: int | None = None
    last_outcome: Outcome | None = None
    unfinished: tuple[Build, ...] = ()
    dependencies: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def has_outdated_inputs(self) -> bool:
        """Whether a new build would use what is outdated, unless that is built first."""
        return len(self.stale_reasons) > len(self.own_stale_reasons)


def job_statuses(
    jobs: Iterable[Job],
    links: Mapping[str, Sequence[str]] | None = None,
    *,
    with_builds: bool = True,
) -> dict[str, JobStatus]:
    """Return where each of `jobs` stands, by job id.

    `links` are all of `job_links`, where they were looked up already. Without builds it is not said
    how the newest one ended and which have not: a query less.
    """
    asked = {job.pk: job for job in jobs}
    if not asked:
        return {}
    facts = _Facts(job_links() if links is None else links)
    # And all that they depend on, directly or not: whether those are outdated.
    known = _look_up(graph.reachable(facts.links, asked), facts)
    own = {job.pk: _own_reasons(job, facts) for job in known}
    outdated = _outdated(known, own, facts)
    for chunk in _chunks(list(asked) if with_builds else []):
        _add_what_is_shown(chunk, facts)
    found = {job.pk: _status(job, own[job.pk], outdated, facts) for job in known if job.pk in asked}
    return {name: found[name] for name in asked}


def job_status(job: Job, links: Mapping[str, Sequence[str]] | None = None) -> JobStatus:
    """Return where `job` stands."""
    return job_statuses([job], links)[job.pk]


def own_stale_reasons(
    names: Iterable[str], links: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the `own_stale_reasons` of jobs, by id, and nothing else of how they stand."""
    facts = _Facts(links)
    known = _look_up(graph.reachable(links, names), facts)
    return {job.pk: tuple(_own_reasons(job, facts)) for job in known}


def why_outdated() -> tuple[list[Job], dict[str, tuple[str, ...]]]:
    """Return the jobs of the file, in its order, and why the outdated ones are so, by their ids.

    Those that are outdated by themselves come before those that only need one of them. Two queries
    whatever the number of jobs, with as little of each job as decides it.
    """
    newest = Build.objects.filter(job=OuterRef("pk")).successful().newest_first()
    jobs: list[Any] = list(
        Job.objects.active()
        .only("pk", "title", "config", "problem")
        .annotate(
            latest=Subquery(newest.values("pk")[:1]),
            built_from=Subquery(newest.values("payload__config")[:1]),
        )
    )
    facts = _Facts({job.pk: [] for job in jobs})
    facts.latest = {job.pk: job.latest for job in jobs if job.latest}
    facts.changed = _changed(jobs)
    _add_links(facts)
    own = {job.pk: _own_reasons(job, facts) for job in jobs}
    outdated = _outdated(jobs, own, facts)
    found = [job for job in jobs if job.pk in outdated]
    found.sort(key=lambda job: not own[job.pk])
    return jobs, {job.pk: tuple(_reasons(job, own[job.pk], outdated, facts)) for job in found}


def latest_successful_build(job_id: str) -> Build | None:
    """Return the newest build of the job that succeeded and was not skipped."""
    return Build.objects.filter(job_id=job_id).successful().newest_first().first()


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


@dataclass
class _Facts:
    """What the queries gave, keyed by job id; `links` has all jobs, the rest those looked up."""

    links: Mapping[str, Sequence[str]]
    latest: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    finished: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    inputs: dict[int, dict[str, int]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unfinished: dict[str, list[Build]] = field(default_factory=dict)

    def dependencies(self, job: Job) -> Sequence[str]:
        """Return what the job depends on, in the order of the file."""
        return self.links.get(job.pk, ())


def _look_up(names: Sequence[str], facts: _Facts) -> list[Job]:
    return [job for chunk in _chunks(names) for job in _add_history(chunk, facts)]


def _add_history(ids: Sequence[str], facts: _Facts) -> list[Job]:
    """Look up what decides whether jobs are outdated, for at most `_CHUNK` of them."""
    jobs = _with_newest_builds(ids)
    latest = {job.pk: job.latest for job in jobs if job.latest}
    facts.latest.update(latest)
    facts.failed.update((job.pk, job.failed) for job in jobs if job.failed)
    facts.finished.update((job.pk, job.finished) for job in jobs if job.finished)
    facts.running.update(job.pk for job in jobs if job.is_running)
    facts.inputs.update(_inputs(list(latest.values())))
    facts.changed.update(_changed(jobs))
    return jobs


def _changed(jobs: Iterable[Any]) -> set[str]:
    """Return the jobs whose block says something else than it did for their latest success."""
    return {
        job.pk
        for job in jobs
        if job.built_from is not None and _of_the_run(job.built_from) != _of_the_run(job.config)
    }


def _add_what_is_shown(ids: Sequence[str], facts: _Facts) -> None:
    """Look up what is said of jobs beside their status, for at most `_CHUNK` of them."""
    last = [facts.finished[name] for name in ids if name in facts.finished]
    # The newest of each state: of those that are finished, these very builds.
    rank = Window(RowNumber(), partition_by=[F("job"), F("status")], order_by=F("pk").desc())
    wanted = Q(pk__in=last) | Q(job__in=ids, status__in=Build.UNFINISHED)
    builds = Build.objects.filter(wanted).annotate(rank=rank)
    found: dict[str, list[Build]] = defaultdict(list)
    for build in builds.filter(rank__lte=UNFINISHED_SHOWN).order_by("-pk"):
        if build.finished:
            outcome = Outcome(build.pk, build.status, build.end_time, reason(build))
            facts.outcomes[build.job_id] = outcome
        else:
            found[build.job_id].append(build)
    facts.unfinished.update((name, some[:UNFINISHED_SHOWN]) for name, some in found.items())


def _status(job: Job, own: Sequence[str], outdated: Collection[str], facts: _Facts) -> JobStatus:
    reasons = _reasons(job, own, outdated, facts)
    if job.pk in outdated:
        status = OUTDATED
    elif job.pk in facts.latest:
        status = SUCCESS
    else:
        status = FAILED if job.pk in facts.failed else NOT_BUILT
    return JobStatus(
        status=status,
        stale_reasons=tuple(reasons),
        own_stale_reasons=tuple(own),
        running=job.pk in facts.running,
        latest_successful_build_id=facts.latest.get(job.pk),
        last_failed_build_id=facts.failed.get(job.pk),
        last_outcome=facts.outcomes.get(job.pk),
        unfinished=tuple(facts.unfinished.get(job.pk, ())),
        dependencies=tuple(facts.dependencies(job)),
        missing=tuple(_missing(job, facts)),
    )


def _reasons(job: Job, own: Sequence[str], outdated: Collection[str], facts: _Facts) -> list[str]:
    """Return all reasons why a job is outdated: its own, then the jobs that it needs."""
    if job.pk not in outdated:
        return [*own]
    return [*own, *(f"{name} is itself outdated" for name in _carrying(job, facts, outdated))]


def _missing(job: Job, facts: _Facts) -> list[str]:
    pins = pinned_builds(job)
    needs = facts.dependencies(job)
    return [name for name in needs if name not in facts.latest and name not in pins]


def _can_be_stale(job: Job, facts: _Facts) -> bool:
    """Whether it can be said that the job is up to date or not."""
    return job.pk in facts.latest and not _missing(job, facts)


def _own_reasons(job: Job, facts: _Facts) -> list[str]:
    """Say why the latest success is not up to date; nothing where that can't be said."""
    if not _can_be_stale(job, facts):
        return []
    own = facts.latest[job.pk]
    used = facts.inputs.get(own, {})
    pins = pinned_builds(job)
    reasons = []
    for name in facts.dependencies(job):
        reason = _input_reason(name, used.get(name), pins.get(name), facts.latest.get(name, 0))
        if reason:
            reasons.append(reason)
    if job.pk in facts.changed:
        reasons.append(f"configuration changed since build #{own}")
    return reasons


def _outdated(jobs: Sequence[Job], own: Mapping[str, Sequence[str]], facts: _Facts) -> set[str]:
    """Return those of `jobs` that are outdated by themselves or by what they depend on."""
    users: dict[str, list[str]] = {job.pk: [] for job in jobs}
    for job in jobs:
        if _can_be_stale(job, facts):
            for name in _carrying(job, facts, facts.latest):
                users[name].append(job.pk)
    return set(graph.reachable(users, [name for name, reasons in own.items() if reasons]))


def _carrying(job: Job, facts: _Facts, outdated: Collection[str]) -> list[str]:
    """Return those of `outdated` that the job would use again: a pinned build stays the same."""
    pins = pinned_builds(job)
    return [name for name in facts.dependencies(job) if name in outdated and name not in pins]


def _input_reason(name: str, used: int | None, pinned: int | None, latest: int) -> str:
    if pinned is not None:
        return "" if used == pinned else f"build #{pinned} of {name} is pinned now"
    if used is None:
        return f"{name} is a dependency now"
    # A used build that is newer than the latest was deleted since: there is nothing newer to use.
    return f"newer build #{latest} of {name}" if latest > used else ""


def pinned_builds(job: Job) -> dict[str, int]:
    """Return the builds that the file pins for the job's dependencies, by job id."""
    pins = decode(job.config.get("pinned_builds") or {})
    return {str(name): number for name, number in pins.items()} if isinstance(pins, dict) else {}


def job_links() -> dict[str, list[str]]:
    """Return what each job depends on, by id, in the order of the file; in one query."""
    found: dict[str, list[str]] = {}
    links = Job.objects.order_by("retired", "position", "pk", "dependency_links__position")
    for job_id, name in links.values_list("pk", "dependency_links__depends_on"):
        needs = found.setdefault(job_id, [])
        if name is not None:
            needs.append(name)
    return found


def _add_links(facts: _Facts) -> None:
    """Look up what the jobs of the file depend on, and what their newest successes used of it."""
    builds: BuildQuerySet = Build.objects.filter(job=OuterRef(OuterRef("job"))).order_by()
    newest = builds.successful().newest_first().values("pk")[:1]
    used = BuildDependency.objects.filter(build=Subquery(newest), job=OuterRef("depends_on"))
    links = JobDependency.objects.filter(job__retired=False).order_by("job_id", "position")
    rows = links.annotate(used=Subquery(used.values("dep_build_number")[:1]))
    names: dict[str, list[str]] = defaultdict(list)
    for job_id, name, number in rows.values_list("job_id", "depends_on_id", "used"):
        names[job_id].append(name)
        if number is not None and job_id in facts.latest:
            facts.inputs.setdefault(facts.latest[job_id], {})[name] = number
    facts.links = {**facts.links, **names}


def _with_newest_builds(ids: Sequence[str]) -> list[Any]:
    """Return jobs with the numbers of their newest builds, each by one step into an index."""
    builds: BuildQuerySet = Build.objects.filter(job=OuterRef("pk")).newest_first()
    jobs = Job.objects.filter(pk__in=ids).order_by().only("pk", "config")
    return list(
        jobs.annotate(
            latest=Subquery(builds.successful().values("pk")[:1]),
            built_from=Subquery(builds.successful().values("payload__config")[:1]),
            finished=Subquery(builds.finished().values("pk")[:1]),
            failed=Subquery(builds.filter(status=Build.Status.FAILED).values("pk")[:1]),
            is_running=Exists(builds.running().order_by()),
        )
    )


def reason(build: Build) -> str:
    """Return why the build failed or was skipped, in a line; empty for any other."""
    if build.skipped:
        return build.exception_message
    if build.exception_type:
        return f"{build.exception_type}: {build.exception_message}".removesuffix(": ")
    return build.exception_message


def _inputs(numbers: Sequence[int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    links = BuildDependency.objects.filter(build__in=numbers)
    for number, job_id, used in links.values_list("build_id", "job_id", "dep_build_number"):
        found[number][job_id] = used
    return dict(found)


def _of_the_run(config: Any) -> dict[str, Any]:
    """Return what decides the run; empty arguments are the same as none."""
    if not isinstance(config, dict):
        return {}
    kept = {key: value for key, value in config.items() if key not in _BESIDE_THE_RUN}
    return {key: value for key, value in kept.items() if value not in (None, [], {})}
