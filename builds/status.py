"""Where jobs stand: derived from their builds, in a bounded number of queries for any number.

A job is `not_built`, `outdated`, `success` or `failed`; what runs now and how the newest build
ended are said beside that, never instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Subquery, Window
from django.db.models.functions import RowNumber

from builds.models import Build, BuildDependency, BuildPayload, BuildQuerySet
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

    `status` is not_built, outdated, success or failed. `stale_reasons` says why it is outdated.
    `last_outcome` is the newest finished build, whichever way it ended. `unfinished` are its
    newest builds that wait or run (`UNFINISHED_SHOWN` at most). `missing` names the dependencies
    without a successful build: with one of these the job can't be built.
    """

    status: str = NOT_BUILT
    stale_reasons: tuple[str, ...] = ()
    running: bool = False
    latest_successful_build_id: int | None = None
    last_outcome: Outcome | None = None
    unfinished: tuple[Build, ...] = ()
    dependencies: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def job_statuses(jobs: Iterable[Job]) -> dict[str, JobStatus]:
    """Return where each of `jobs` stands, by job id."""
    found: dict[str, JobStatus] = {}
    for chunk in _chunks(list(jobs)):
        found.update(_statuses(chunk))
    return found


def job_status(job: Job) -> JobStatus:
    """Return where `job` stands."""
    return job_statuses([job])[job.pk]


def latest_successful_build(job_id: str) -> Build | None:
    """Return the newest build of the job that succeeded and was not skipped."""
    return Build.objects.filter(job_id=job_id).successful().newest_first().first()


def _chunks(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    for start in range(0, len(jobs), _CHUNK):
        yield jobs[start : start + _CHUNK]


@dataclass(frozen=True)
class _Facts:
    """What the queries gave, keyed by job id."""

    dependencies: Mapping[str, Sequence[str]]
    latest: Mapping[str, int]
    failed: frozenset[str]
    outcomes: Mapping[str, Outcome]
    running: frozenset[str]
    unfinished: Mapping[str, Sequence[Build]]
    inputs: Mapping[int, Mapping[str, int]]
    changed: frozenset[str] = field(default_factory=frozenset)


def _statuses(jobs: Sequence[Job]) -> dict[str, JobStatus]:
    ids = [job.pk for job in jobs]
    dependencies = _dependencies(ids)
    rows = _rows({*ids, *(name for names in dependencies.values() for name in names)})
    latest = {job_id: row["latest"] for job_id, row in rows.items() if row["latest"]}
    own_latest = [latest[job_id] for job_id in ids if job_id in latest]
    facts = _Facts(
        dependencies=dependencies,
        latest=latest,
        failed=frozenset(job_id for job_id, row in rows.items() if row["failed"]),
        outcomes=_outcomes([rows[job_id]["finished"] for job_id in ids if job_id in rows]),
        running=frozenset(job_id for job_id, row in rows.items() if row["running"]),
        unfinished=_unfinished(ids),
        inputs=_inputs(own_latest),
        changed=_changed(jobs, latest),
    )
    return {job.pk: _status(job, facts) for job in jobs}


def _status(job: Job, facts: _Facts) -> JobStatus:
    reasons = _stale_reasons(job, facts)
    if reasons:
        status = OUTDATED
    elif job.pk in facts.latest:
        status = SUCCESS
    else:
        status = FAILED if job.pk in facts.failed else NOT_BUILT
    return JobStatus(
        status=status,
        stale_reasons=tuple(reasons),
        running=job.pk in facts.running,
        latest_successful_build_id=facts.latest.get(job.pk),
        last_outcome=facts.outcomes.get(job.pk),
        unfinished=tuple(facts.unfinished.get(job.pk, ())),
        dependencies=tuple(facts.dependencies.get(job.pk, ())),
        missing=tuple(_missing(job, facts)),
    )


def _missing(job: Job, facts: _Facts) -> list[str]:
    pins = pinned_builds(job)
    needs = facts.dependencies.get(job.pk, ())
    return [name for name in needs if name not in facts.latest and name not in pins]


def _stale_reasons(job: Job, facts: _Facts) -> list[str]:
    """Say why the latest success is not up to date; nothing where that can't be said."""
    own = facts.latest.get(job.pk)
    if own is None or _missing(job, facts):
        return []
    used = facts.inputs.get(own, {})
    pins = pinned_builds(job)
    reasons = []
    for name in facts.dependencies.get(job.pk, ()):
        reason = _input_reason(name, used.get(name), pins.get(name), facts.latest.get(name, 0))
        if reason:
            reasons.append(reason)
    if job.pk in facts.changed:
        reasons.append("configuration changed")
    return reasons


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


def _dependencies(ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    links = JobDependency.objects.filter(job__in=ids).order_by("job_id", "position")
    for job_id, name in links.values_list("job_id", "depends_on_id"):
        found[job_id].append(name)
    return dict(found)


def _rows(ids: set[str]) -> dict[str, Any]:
    """Look up each job's newest builds, each by one step into an index."""
    builds: BuildQuerySet = Build.objects.filter(job=OuterRef("pk")).order_by()
    jobs = Job.objects.filter(pk__in=ids).order_by()
    rows = jobs.annotate(
        latest=Subquery(builds.successful().newest_first().values("pk")[:1]),
        finished=Subquery(builds.finished().newest_first().values("pk")[:1]),
        failed=Exists(builds.filter(status=Build.Status.FAILED)),
        running=Exists(builds.running()),
    ).values("pk", "latest", "finished", "failed", "running")
    return {row["pk"]: row for row in rows}


def _outcomes(numbers: Iterable[int | None]) -> dict[str, Outcome]:
    builds = Build.objects.filter(pk__in=[number for number in numbers if number]).order_by()
    return {
        build.job_id: Outcome(build.pk, build.status, build.end_time, reason(build))
        for build in builds.only(
            "job_id", "status", "end_time", "exception_type", "exception_message"
        )
    }


def reason(build: Build) -> str:
    """Return why the build failed or was skipped, in a line; empty for any other."""
    if build.skipped:
        return build.exception_message
    if build.exception_type:
        return f"{build.exception_type}: {build.exception_message}".removesuffix(": ")
    return build.exception_message


def _unfinished(ids: Sequence[str]) -> dict[str, list[Build]]:
    rank = Window(RowNumber(), partition_by=F("job"), order_by=F("pk").desc())
    builds = Build.objects.finished(False).filter(job__in=ids).annotate(rank=rank)
    found: dict[str, list[Build]] = defaultdict(list)
    for build in builds.filter(rank__lte=UNFINISHED_SHOWN).order_by("-pk"):
        found[build.job_id].append(build)
    return dict(found)


def _inputs(numbers: Sequence[int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    links = BuildDependency.objects.filter(build__in=numbers)
    for number, job_id, used in links.values_list("build_id", "job_id", "dep_build_number"):
        found[number][job_id] = used
    return dict(found)


def _changed(jobs: Sequence[Job], latest: Mapping[str, int]) -> frozenset[str]:
    """Return the jobs whose block says something else than it did for their latest success."""
    numbers = {latest[job.pk]: job for job in jobs if job.pk in latest}
    configs = BuildPayload.objects.filter(build__in=list(numbers)).values_list("pk", "config")
    return frozenset(
        numbers[number].pk
        for number, config in configs
        if _of_the_run(config) != _of_the_run(numbers[number].config)
    )


def _of_the_run(config: Any) -> dict[str, Any]:
    """Return what decides the run; empty arguments are the same as none."""
    if not isinstance(config, dict):
        return {}
    kept = {key: value for key, value in config.items() if key not in _BESIDE_THE_RUN}
    return {key: value for key, value in kept.items() if value not in (None, [], {})}
