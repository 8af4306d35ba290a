"""What decides where jobs stand, read from their builds: as little of each as decides it.

There may be a thousand jobs, so their configurations are compared by the database, as text, and
only those that differ are looked into.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import (
    Case,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, Concat, NullIf, RowNumber

from builds.models import Build, BuildDependency, BuildQuerySet
from jobs import graph
from jobs.models import Job, JobDependency
from jobs.tags import decode

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


@dataclass
class Facts:
    """What the queries gave, keyed by job id; `links` has all jobs, the rest those looked up."""

    links: Mapping[str, Sequence[str]]
    names: list[str] = field(default_factory=list)
    latest: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    finished: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    pins: dict[str, dict[str, int]] = field(default_factory=dict)
    inputs: dict[int, dict[str, int]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unfinished: dict[str, list[Build]] = field(default_factory=dict)

    def needs(self, name: str) -> Sequence[str]:
        """Return what a job depends on, in the order of the file."""
        return self.links.get(name, ())

    def pinned(self, name: str) -> Mapping[str, int]:
        """Return the builds that the file pins for a job's dependencies."""
        return self.pins.get(name, {})

    def add(self, name: str, success: str | None, block: str) -> None:
        """Note a job's newest success and its block of the file: see `success_and_block`."""
        self.names.append(name)
        if success:
            number, _, built_from = success.partition(" ")
            self.latest[name] = int(number)
            if built_from and _of_the_run(built_from) != _of_the_run(block):
                self.changed.add(name)
        if '"pinned_builds"' in block:
            self.pins[name] = _pins(json.loads(block))


def success_and_block() -> dict[str, Any]:
    """Return what to annotate jobs with for `Facts.add`.

    `success` is the number of the newest success and, after a blank, the block that it was made
    from, where that is another text than the job's: both by one step into an index.
    """
    text = TextField()
    other = NullIf(F("payload__config"), OuterRef("config"), output_field=text)
    parts = Cast("pk", text), Value(" ", text), Coalesce(other, Value("", text))
    both = Concat(*parts, output_field=text)
    newest = _builds().successful().values(both=both)[:1]
    return {
        "success": Subquery(newest, output_field=text),
        "block": ExpressionWrapper(F("config"), output_field=text),
    }


def read(
    names: Iterable[str], links: Mapping[str, Sequence[str]], *, ended: Collection[str] = ()
) -> Facts:
    """Look up what decides whether jobs are outdated: of these, and of all that they depend on.

    Of the jobs in `ended` it is looked up too which builds failed and which ended last.
    """
    facts = Facts(links)
    wanted = graph.reachable(links, names)
    for chunk in _chunks(wanted):
        # All of them are found sooner without their names.
        jobs = Job.objects.all() if len(wanted) == len(links) <= _CHUNK else _named(chunk)
        _add_history(jobs, facts, ended=[name for name in chunk if name in ended])
    return facts


def add_what_is_shown(names: Sequence[str], facts: Facts) -> None:
    """Look up what is said of jobs beside their status."""
    for chunk in _chunks(names):
        _add_shown(chunk, facts)


def add_failed(names: Sequence[str], facts: Facts) -> None:
    """Look up which builds of some jobs failed last."""
    for chunk in _chunks(names):
        rows = _named(chunk).annotate(failed=_failed()).values_list("pk", "failed")
        facts.failed.update((name, number) for name, number in rows if number)


def newest_finished(names: Sequence[str]) -> dict[str, int]:
    """Return the newest builds of some jobs that have ended, by job."""
    found: dict[str, int] = {}
    for chunk in _chunks(names):
        rows = _named(chunk).annotate(finished=Subquery(_builds().finished().values("pk")[:1]))
        found.update((name, one) for name, one in rows.values_list("pk", "finished") if one)
    return found


def job_links() -> dict[str, list[str]]:
    """Return what each job depends on, by id, in the order of the file; in one query."""
    return jobs_and_links()[1]


def jobs_and_links(*columns: str) -> tuple[dict[str, Job], dict[str, list[str]]]:
    """Return `job_links`, and before it the jobs by id, with no more than these columns."""
    jobs: dict[str, Job] = {}
    links: dict[str, list[str]] = {}
    rows = Job.objects.order_by("retired", "position", "pk", "dependency_links__position")
    for job_id, need, *values in rows.values_list("pk", "dependency_links__depends_on", *columns):
        if job_id not in links:
            links[job_id] = []
            if columns:
                names = ["id", *columns]
                jobs[job_id] = Job.from_db(DEFAULT_DB_ALIAS, names, [job_id, *values])
        if need is not None:
            links[job_id].append(need)
    return jobs, links


def add_links(facts: Facts) -> None:
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


def pinned_builds(job: Job) -> dict[str, int]:
    """Return the builds that the file pins for the job's dependencies, by job id."""
    return _pins(job.config)


def reason(build: Build) -> str:
    """Return why the build failed or was skipped, in a line; empty for any other."""
    if build.skipped:
        return build.exception_message
    if build.exception_type:
        return f"{build.exception_type}: {build.exception_message}".removesuffix(": ")
    return build.exception_message


# --- Queries --------------------------------------------------------------------------------------


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _CHUNK):
        yield names[start : start + _CHUNK]


def _named(names: Sequence[str]) -> QuerySet[Job]:
    return Job.objects.filter(pk__in=names).order_by()


def _builds() -> BuildQuerySet:
    return Build.objects.filter(job=OuterRef("pk")).newest_first()


def _of(names: Collection[str], what: Subquery) -> Case:
    """Return `what` of these jobs, and nothing of any other."""
    return Case(When(pk__in=names, then=what))


def _failed() -> Subquery:
    return Subquery(_builds().filter(status=Build.Status.FAILED).values("pk")[:1])


def _add_history(jobs: QuerySet[Job], facts: Facts, *, ended: Collection[str]) -> None:
    """Look up the newest builds of jobs, each by one step into an index, and what they used."""
    more: dict[str, Any] = {"is_running": Exists(_builds().running().order_by())}
    if ended:
        finished = Subquery(_builds().finished().values("pk")[:1])
        more |= {"failed": _of(ended, _failed()), "finished": _of(ended, finished)}
    rows = jobs.order_by().annotate(**success_and_block(), **more)
    latest: list[int] = []
    for row in rows.values("pk", "success", "block", *more):
        name = row["pk"]
        facts.add(name, row["success"], row["block"])
        if row["is_running"]:
            facts.running.add(name)
        if row.get("failed"):
            facts.failed[name] = row["failed"]
        if row.get("finished"):
            facts.finished[name] = row["finished"]
        if row["success"]:
            latest.append(facts.latest[name])
    facts.inputs.update(_inputs(latest))


def _inputs(numbers: Sequence[int]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    links = BuildDependency.objects.filter(build__in=numbers)
    for number, job_id, used in links.values_list("build_id", "job_id", "dep_build_number"):
        found[number][job_id] = used
    return dict(found)


def _add_shown(names: Sequence[str], facts: Facts) -> None:
    last = [facts.finished[name] for name in names if name in facts.finished]
    # The newest of each state: of those that are finished, these very builds.
    rank = Window(RowNumber(), partition_by=[F("job"), F("status")], order_by=F("pk").desc())
    wanted = Q(pk__in=last) | Q(job__in=names, status__in=Build.UNFINISHED)
    builds = Build.objects.filter(wanted).annotate(rank=rank)
    found: dict[str, list[Build]] = defaultdict(list)
    for build in builds.filter(rank__lte=UNFINISHED_SHOWN).order_by("-pk"):
        if build.finished:
            outcome = Outcome(build.pk, build.status, build.end_time, reason(build))
            facts.outcomes[build.job_id] = outcome
        else:
            found[build.job_id].append(build)
    facts.unfinished.update((name, some[:UNFINISHED_SHOWN]) for name, some in found.items())


# --- Blocks of the file ---------------------------------------------------------------------------


def _pins(block: Mapping[str, Any]) -> dict[str, int]:
    pins = decode(block.get("pinned_builds") or {})
    return {str(name): number for name, number in pins.items()} if isinstance(pins, dict) else {}


def _of_the_run(text: str) -> dict[str, Any]:
    """Return what of a block decides the run; empty arguments are the same as none."""
    block = json.loads(text)
    if not isinstance(block, dict):
        return {}
    kept = {key: value for key, value in block.items() if key not in _BESIDE_THE_RUN}
    return {key: value for key, value in kept.items() if value not in (None, [], {})}
