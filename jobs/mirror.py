"""The rows of the registry: what they must be, what differs, and how they are written.

Only `jobs.registry` calls this. Everything is set-based and chunked: 10,000 jobs are a few hundred
statements, and nothing is written when nothing changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from jobcontrol.utils.text import clean_text
from jobs import tags
from jobs.checks import FunctionCheck
from jobs.config import Configuration
from jobs.models import ConfigRevision, Job, JobDependency, registry_writes
from jobs.redaction import Redactor
from jobs.specs import JobSpec

CHUNK = 500
MAX_TEXT = 1_000_000
# Any number, the same in all our processes: who holds this PostgreSQL lock may write the registry.
LOCK_KEY = 0x6A6F6273

NO_DOCS = {"signature": "", "docstring": "", "parameters": None}

_COMPARED = (
    "title", "notes", "function", "config_text", "config_hash", "tags", "tag_text", "protected",
    "priority", "concurrency", "queue", "position", "retired", "rebuilds_itself", "schedules",
)  # fmt: skip
_WRITTEN = (*_COMPARED, "config", "problem", "docs", "synced_at")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Changes:
    """Job ids by what happened to them, each in the order of the file."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[str, ...]:
        """The jobs of the file that are new or not as they were."""
        return self.added + self.changed + self.restored

    @property
    def is_empty(self) -> bool:
        """Tell whether no job was touched."""
        return not (self.written or self.retired)

    def to_json(self) -> dict[str, list[str]]:
        """Return the lists by name."""
        return {
            "added": list(self.added),
            "changed": list(self.changed),
            "retired": list(self.retired),
            "restored": list(self.restored),
        }


@dataclass(frozen=True)
class Written:
    """What `write` did and what it found: the last revision, problems, jobs never checked."""

    changes: Changes
    revision: int | None
    problems: Mapping[str, str]
    unchecked: tuple[str, ...]


Link = tuple[str, str, int]


@dataclass(frozen=True)
class _Wanted:
    """The rows as the configuration wants them."""

    jobs: dict[str, dict[str, Any]]
    links: frozenset[Link]
    hash: str
    path: str
    sources: list[dict[str, str]]


@dataclass(frozen=True)
class _Difference:
    """What stands in the database, and how it differs from what is wanted."""

    changes: Changes
    standing: dict[str, dict[str, Any]]
    stale_links: tuple[int, ...]
    missing_links: tuple[Link, ...]
    revision: int | None
    needs_revision: bool

    @property
    def is_empty(self) -> bool:
        links = self.stale_links or self.missing_links
        return self.changes.is_empty and not links and not self.needs_revision


def write(configuration: Configuration, redactor: Redactor) -> Written:
    """Make the rows say what `configuration` says, in one transaction, with one writer at a time.

    A job whose function is another one loses its problem and docs until it is checked.
    """
    wanted = _wanted(configuration, redactor)
    difference = _compare(wanted)
    if difference.is_empty:
        return _written(difference, difference.revision)
    with _only_writer():
        difference = _compare(wanted)  # another process may have been faster
        revision = _apply(wanted, difference)
    return _written(difference, revision)


def _written(difference: _Difference, revision: int | None) -> Written:
    kept = {
        job_id: row
        for job_id, row in difference.standing.items()
        if not row["retired"] and job_id not in difference.changes.written
    }
    return Written(
        changes=difference.changes,
        revision=revision,
        problems={job_id: row["problem"] for job_id, row in kept.items() if row["problem"]},
        unchecked=tuple(job_id for job_id, row in kept.items() if not row["docs"]),
    )


@contextmanager
def _only_writer() -> Iterator[None]:
    """Open a transaction in which no other process writes the registry.

    On SQLite the transaction itself is the lock: it is an IMMEDIATE one.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])
        with registry_writes():
            yield


def _wanted(configuration: Configuration, redactor: Redactor) -> _Wanted:
    rows = {
        spec.id: _row(spec, position, redactor) for position, spec in enumerate(configuration.jobs)
    }
    links = frozenset(
        (spec.id, dependency, position)
        for spec in configuration.jobs
        for position, dependency in enumerate(spec.dependencies)
    )
    sources = [
        {"path": source.path, "text": clean_text(redactor.redact(source.text))}
        for source in configuration.sources
    ]
    return _Wanted(rows, links, configuration.hash, configuration.path, sources)


def _row(spec: JobSpec, position: int, redactor: Redactor) -> dict[str, Any]:
    """Return the columns of one job that come from the file."""
    config = tags.encode(spec.config, redactor)
    names = [clean_text(redactor.redact(tag)) for tag in spec.tags]
    return {
        "title": clean_text(redactor.redact(spec.title), MAX_TEXT),
        "notes": clean_text(redactor.redact(spec.notes), MAX_TEXT),
        "function": spec.function,
        "config": config,
        "config_text": clean_text(redactor.redact(tags.to_yaml(tags.decode(config))), MAX_TEXT),
        "config_hash": hashlib.sha256(
            json.dumps(config, sort_keys=True).encode("ascii")
        ).hexdigest(),
        "tags": names,
        "tag_text": "".join(f"\n{name}\n" for name in names),
        "protected": spec.protected,
        "priority": spec.priority,
        "concurrency": spec.concurrency,
        "queue": spec.queue,
        "rebuilds_itself": spec.rebuilds_itself,
        "schedules": [
            entry.to_json(site_zone=settings.TIME_ZONE, masker=redactor) for entry in spec.schedule
        ],
        "position": position,
        "retired": False,
    }


def _compare(wanted: _Wanted) -> _Difference:
    columns = ("id", *_COMPARED, "problem", "docs")
    standing = {row["id"]: row for row in Job.objects.values(*columns)}
    links = {
        (job, needs, position): pk
        for pk, job, needs, position in JobDependency.objects.values_list(
            "pk", "job_id", "depends_on_id", "position"
        )
    }
    last = ConfigRevision.objects.order_by("-pk").values("pk", "hash", "sources").first()
    return _Difference(
        changes=_changes(wanted.jobs, standing, _moved_links(wanted.links, set(links))),
        standing=standing,
        stale_links=tuple(pk for link, pk in links.items() if link not in wanted.links),
        missing_links=tuple(sorted(wanted.links - set(links))),
        revision=last["pk"] if last else None,
        # Not the paths: the same file may stand elsewhere on another machine.
        needs_revision=last is None
        or (last["hash"], _texts(last["sources"])) != (wanted.hash, _texts(wanted.sources)),
    )


def _texts(sources: list[dict[str, str]]) -> list[str]:
    return [source["text"] for source in sources]


def _moved_links(wanted: frozenset[Link], standing: set[Link]) -> set[str]:
    """Return the jobs whose dependencies differ."""
    return {job for job, _, _ in wanted ^ standing}


def _changes(
    wanted: dict[str, dict[str, Any]], standing: dict[str, dict[str, Any]], relinked: set[str]
) -> Changes:
    added, changed, restored = [], [], []
    for job_id, row in wanted.items():
        before = standing.get(job_id)
        if before is None:
            added.append(job_id)
        elif before["retired"]:
            restored.append(job_id)
        elif job_id in relinked or any(before[name] != row[name] for name in _COMPARED):
            changed.append(job_id)
    gone = [
        job_id for job_id, row in standing.items() if job_id not in wanted and not row["retired"]
    ]
    gone.sort(key=lambda job_id: standing[job_id]["position"])
    return Changes(tuple(added), tuple(changed), tuple(gone), tuple(restored))


def _apply(wanted: _Wanted, difference: _Difference) -> int | None:
    """Write the difference; return the id of the revision that stands now."""
    now = timezone.now()
    _write_jobs(wanted, difference, now)
    for chunk in _chunks(difference.changes.retired):
        Job.objects.filter(pk__in=chunk).update(retired=True, problem="", synced_at=now)
    for ids in _chunks(difference.stale_links):
        JobDependency.objects.filter(pk__in=ids).delete()
    JobDependency.objects.bulk_create(
        [
            JobDependency(job_id=job, depends_on_id=needs, position=position)
            for job, needs, position in difference.missing_links
        ],
        batch_size=CHUNK,
    )
    if not difference.needs_revision:
        return difference.revision
    revision = ConfigRevision.objects.create(
        hash=wanted.hash,
        created=now,
        path=wanted.path,
        sources=wanted.sources,
        changes=difference.changes.to_json(),
    )
    return revision.pk


def _write_jobs(wanted: _Wanted, difference: _Difference, now: datetime) -> None:
    jobs = []
    for job_id in difference.changes.written:
        row = wanted.jobs[job_id]
        before = difference.standing.get(job_id)
        same = before is not None and before["function"] == row["function"]
        problem, docs = (before["problem"], before["docs"]) if before and same else ("", {})
        jobs.append(Job(id=job_id, **row, problem=problem, docs=docs, synced_at=now))
    Job.objects.bulk_create(
        jobs,
        batch_size=CHUNK,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=list(_WRITTEN),
    )


def record_checks(
    found: Mapping[str, FunctionCheck], redactor: Redactor, *, unreached: Iterable[str] = ()
) -> dict[str, str]:
    """Record what was found about the jobs' functions; return the problems by job id.

    The `unreached` (for which the time was over) keep what was known of them; where nothing was,
    they get empty docs, so that not every new process tries again.
    """
    wanted = {job_id: _check_columns(check, redactor) for job_id, check in found.items()}
    unknown = Job.objects.active().filter(docs={}).values_list("pk", flat=True)
    late = set(unreached)
    if late:
        wanted |= {job_id: ("", NO_DOCS) for job_id in unknown if job_id in late}
    if _differing(wanted):
        with _only_writer():
            _write_checks(wanted, _differing(wanted))
    return {job_id: problem for job_id, (problem, _) in wanted.items() if problem}


def _write_checks(wanted: Mapping[str, tuple[str, dict[str, Any]]], job_ids: list[str]) -> None:
    """Write what was found; jobs of one function share a statement."""
    by_content: dict[str, list[str]] = {}
    for job_id in job_ids:
        by_content.setdefault(json.dumps(wanted[job_id], sort_keys=True), []).append(job_id)
    for alike in by_content.values():
        problem, docs = wanted[alike[0]]
        for chunk in _chunks(alike):
            Job.objects.filter(pk__in=chunk).update(problem=problem, docs=docs)


def _check_columns(check: FunctionCheck, redactor: Redactor) -> tuple[str, dict[str, Any]]:
    def shown(text: str) -> str:
        return clean_text(redactor.redact(text), MAX_TEXT)

    docs = {
        "signature": shown(check.signature),
        "docstring": shown(check.docstring),
        "parameters": check.parameters,
    }
    return shown(check.problem), docs


def _differing(wanted: Mapping[str, tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the active jobs whose recorded problem or docs are others."""
    standing = Job.objects.active().values_list("pk", "problem", "docs")
    return [
        job_id
        for job_id, problem, docs in standing
        if job_id in wanted and wanted[job_id] != (problem, docs)
    ]


def _chunks(items: Sequence[_Item] | Iterable[_Item]) -> Iterator[list[_Item]]:
    items = list(items)
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
