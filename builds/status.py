"""Where jobs stand: derived from their builds, in a bounded number of queries for any number.

A job is `not_built`, `outdated`, `success` or `failed`; what runs now and how the newest build
ended are said beside that, never instead. See `builds.facts` for what is looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builds import facts as reading
from builds.facts import UNFINISHED_SHOWN, Facts, Outcome, job_links, pinned_builds, reason
from builds.models import Build
from jobs import graph
from jobs.models import Job

__all__ = ["FAILED", "NOT_BUILT", "OUTDATED", "SUCCESS", "UNFINISHED_SHOWN", "JobStatus", "Outcome",
           "job_links", "job_status", "job_statuses", "latest_successful_build",
           "own_stale_reasons", "pinned_builds", "reason", "status_from", "statuses_of",
           "why_outdated", "with_builds_shown"]  # fmt: skip

NOT_BUILT = "not_built"
OUTDATED = "outdated"
SUCCESS = "success"
FAILED = "failed"


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
    """Return where each of `jobs` stands, by job id; see `statuses_of`."""
    return statuses_of([job.pk for job in jobs], links, with_builds=with_builds)


def statuses_of(
    names: Iterable[str],
    links: Mapping[str, Sequence[str]] | None = None,
    *,
    with_builds: bool = True,
) -> dict[str, JobStatus]:
    """Return where each of some jobs stands, by job id.

    `links` are all of `job_links`, where they were looked up already. Without builds it is not said
    how the newest one ended and which have not, nor which failed last where one has succeeded.
    """
    asked = dict.fromkeys(names)
    if not asked:
        return {}
    links = job_links() if links is None else links
    facts = reading.read(asked, links, ended=asked if with_builds else ())
    return _statuses(asked, facts, with_builds=with_builds)


def _statuses(asked: Collection[str], facts: Facts, *, with_builds: bool) -> dict[str, JobStatus]:
    own = {name: _own_reasons(name, facts) for name in facts.names}
    outdated = _outdated(facts.names, own, facts)
    if with_builds:
        reading.add_what_is_shown(list(asked), facts)
    else:
        reading.add_failed([name for name in asked if name not in facts.latest], facts)
    found = {n: _status(n, own[n], outdated, facts) for n in facts.names if n in asked}
    return {name: found[name] for name in asked}


def with_builds_shown(
    statuses: Mapping[str, JobStatus], names: Sequence[str]
) -> dict[str, JobStatus]:
    """Return the states of some jobs, of those found without builds, with what these say."""
    facts = Facts({}, finished=reading.newest_finished(names))
    reading.add_what_is_shown(names, facts)
    return {
        name: replace(
            statuses[name],
            last_outcome=facts.outcomes.get(name),
            unfinished=tuple(facts.unfinished.get(name, ())),
        )
        for name in names
    }


def job_status(job: Job, links: Mapping[str, Sequence[str]] | None = None) -> JobStatus:
    """Return where `job` stands."""
    return job_statuses([job], links)[job.pk]


def status_from(facts: Facts, job: Job) -> JobStatus:
    """Return where `job` stands, from facts that were read for it, also of how builds `ended`."""
    return _statuses([job.pk], facts, with_builds=True)[job.pk]


def own_stale_reasons(facts: Facts) -> dict[str, tuple[str, ...]]:
    """Return the `own_stale_reasons` of jobs, by id, from what was read of them."""
    return {name: tuple(_own_reasons(name, facts)) for name in facts.names}


def why_outdated() -> tuple[list[Job], dict[str, tuple[str, ...]]]:
    """Return the jobs of the file, in its order, and why the outdated ones are so, by their ids.

    Those that are outdated by themselves come before those that only need one of them. Two queries
    whatever the number of jobs, with as little of each job as decides it.
    """
    light = Job.objects.active().only("pk", "title", "problem")
    jobs: list[Any] = list(light.annotate(**reading.success_and_block()))
    facts = Facts({job.pk: [] for job in jobs})
    for job in jobs:
        facts.add(job.pk, job.success, job.block)
    reading.add_links(facts)
    own = {name: _own_reasons(name, facts) for name in facts.names}
    outdated = _outdated(facts.names, own, facts)
    found = [job for job in jobs if job.pk in outdated]
    found.sort(key=lambda job: not own[job.pk])
    return jobs, {job.pk: tuple(_reasons(job.pk, own[job.pk], outdated, facts)) for job in found}


def latest_successful_build(job_id: str) -> Build | None:
    """Return the newest build of the job that succeeded and was not skipped."""
    return Build.objects.filter(job_id=job_id).successful().newest_first().first()


# --- The rules ------------------------------------------------------------------------------------


def _status(name: str, own: Sequence[str], outdated: Collection[str], facts: Facts) -> JobStatus:
    if name in outdated:
        status = OUTDATED
    elif name in facts.latest:
        status = SUCCESS
    else:
        status = FAILED if name in facts.failed else NOT_BUILT
    return JobStatus(
        status=status,
        stale_reasons=tuple(_reasons(name, own, outdated, facts)),
        own_stale_reasons=tuple(own),
        running=name in facts.running,
        latest_successful_build_id=facts.latest.get(name),
        last_failed_build_id=facts.failed.get(name),
        last_outcome=facts.outcomes.get(name),
        unfinished=tuple(facts.unfinished.get(name, ())),
        dependencies=tuple(facts.needs(name)),
        missing=tuple(_missing(name, facts)),
    )


def _reasons(name: str, own: Sequence[str], outdated: Collection[str], facts: Facts) -> list[str]:
    """Return all reasons why a job is outdated: its own, then the jobs that it needs."""
    if name not in outdated:
        return [*own]
    return [*own, *(f"{need} is itself outdated" for need in _carrying(name, facts, outdated))]


def _missing(name: str, facts: Facts) -> list[str]:
    pins = facts.pinned(name)
    return [need for need in facts.needs(name) if need not in facts.latest and need not in pins]


def _can_be_stale(name: str, facts: Facts) -> bool:
    """Whether it can be said that the job is up to date or not."""
    return name in facts.latest and not _missing(name, facts)


def _own_reasons(name: str, facts: Facts) -> list[str]:
    """Say why the latest success is not up to date; nothing where that can't be said."""
    if not _can_be_stale(name, facts):
        return []
    own = facts.latest[name]
    used = facts.inputs.get(own, {})
    pins = facts.pinned(name)
    reasons = []
    for need in facts.needs(name):
        reason = _input_reason(need, used.get(need), pins.get(need), facts.latest.get(need, 0))
        if reason:
            reasons.append(reason)
    if name in facts.changed:
        reasons.append(f"configuration changed since build #{own}")
    return reasons


def _outdated(names: Sequence[str], own: Mapping[str, Sequence[str]], facts: Facts) -> set[str]:
    """Return those jobs that are outdated by themselves or by what they depend on."""
    users: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        if _can_be_stale(name, facts):
            for need in _carrying(name, facts, facts.latest):
                users[need].append(name)
    return set(graph.reachable(users, [name for name, reasons in own.items() if reasons]))


def _carrying(name: str, facts: Facts, outdated: Collection[str]) -> list[str]:
    """Return those of `outdated` that the job would use again: a pinned build stays the same."""
    pins = facts.pinned(name)
    return [need for need in facts.needs(name) if need in outdated and need not in pins]


def _input_reason(name: str, used: int | None, pinned: int | None, latest: int) -> str:
    if pinned is not None:
        return "" if used == pinned else f"build #{pinned} of {name} is pinned now"
    if used is None:
        return f"{name} is a dependency now"
    # A used build that is newer than the latest was deleted since: there is nothing newer to use.
    return f"newer build #{latest} of {name}" if latest > used else ""
