"""The rows of the registry: what they must be, what differs, and how they are written.

Only `jobs.registry` calls this. Everything is set-based and chunked: all 10,000 jobs are written in
a few dozen statements, and nothing is when nothing changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q, TextField
from django.utils import timezone

from jobcontrol.utils.collecting import collector_paused
from jobcontrol.utils.text import clean_text
from jobs import tags
from jobs.checks import FunctionCheck
from jobs.config import Configuration
from jobs.fields import json_text
from jobs.job_rows import Row, update_checks, upsert_jobs
from jobs.models import ConfigRevision, Job, JobDependency, registry_writes
from jobs.redaction import Redactor
from jobs.specs import JobSpec

CHUNK = 500
MAX_TEXT = 1_000_000
NOBODY_LOOKED = "{}"  # in `docs`, as text
# Any number, the same in all our processes: who holds this PostgreSQL lock may write the registry.
LOCK_KEY = 0x6A6F6273

NO_DOCS = {"signature": "", "docstring": "", "parameters": None}

_COMPARED = (
    "title", "notes", "function", "config_text", "config_hash", "tags", "tag_text", "protected",
    "priority", "concurrency", "queue", "position", "rebuilds_itself", "schedules",
)  # fmt: skip
_JSON = ("tags", "schedules")
_compared = itemgetter(*_COMPARED)
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

    jobs: dict[str, Row]
    links: frozenset[Link]
    hash: str
    path: str
    sources: list[dict[str, str]]


class _Standing(NamedTuple):
    """A job as it stands in the database; JSON as text."""

    retired: bool
    position: int
    problem: str
    is_unchecked: bool
    compared: tuple[Any, ...]


@dataclass(frozen=True)
class _Difference:
    """What stands in the database, and how it differs from what is wanted."""

    changes: Changes
    standing: dict[str, _Standing]
    stale_links: tuple[int, ...]
    missing_links: tuple[Link, ...]
    revision: int | None
    needs_revision: bool

    @property
    def is_empty(self) -> bool:
        links = self.stale_links or self.missing_links
        return self.changes.is_empty and not links and not self.needs_revision


@collector_paused()
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
    written = set(difference.changes.written)
    kept = {
        job_id: row
        for job_id, row in difference.standing.items()
        if not row.retired and job_id not in written
    }
    return Written(
        changes=difference.changes,
        revision=revision,
        problems={job_id: row.problem for job_id, row in kept.items() if row.problem},
        unchecked=tuple(job_id for job_id, row in kept.items() if row.is_unchecked),
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


def _row(spec: JobSpec, position: int, redactor: Redactor) -> Row:
    """Return the columns of one job that come from the file."""
    config = tags.encode(spec.config, redactor)
    names = [clean_text(redactor.redact(tag)) for tag in spec.tags]
    schedules = [
        entry.to_json(site_zone=settings.TIME_ZONE, masker=redactor) for entry in spec.schedule
    ]
    return {
        "id": spec.id,
        "title": clean_text(redactor.redact(spec.title), MAX_TEXT),
        "notes": clean_text(redactor.redact(spec.notes), MAX_TEXT),
        "function": spec.function,
        "config": json_text(config),
        "config_text": clean_text(redactor.redact(tags.to_yaml(tags.decode(config))), MAX_TEXT),
        "config_hash": hashlib.sha256(
            json.dumps(config, sort_keys=True).encode("ascii")
        ).hexdigest(),
        "tags": json_text(names),
        "tag_text": "".join(f"\n{name}\n" for name in names),
        "protected": spec.protected,
        "priority": spec.priority,
        "concurrency": spec.concurrency,
        "queue": spec.queue,
        "rebuilds_itself": spec.rebuilds_itself,
        "schedules": json_text(schedules),
        "position": position,
    }


def _compare(wanted: _Wanted) -> _Difference:
    standing = _standing()
    links = {
        (job, needs, position): pk
        for pk, job, needs, position in JobDependency.objects.order_by().values_list(
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


def _standing() -> dict[str, _Standing]:
    columns = [_text_of(name) if name in _JSON else name for name in _COMPARED]
    unchecked = ExpressionWrapper(Q(docs={}), BooleanField())
    rows = Job.objects.values_list("id", "retired", "position", "problem", unchecked, *columns)
    return {
        job_id: _Standing(retired, position, problem, is_unchecked, tuple(compared))
        for job_id, retired, position, problem, is_unchecked, *compared in rows
    }


def _text_of(name: str) -> ExpressionWrapper[F]:
    """Read a column of JSON as the text that stands there."""
    return ExpressionWrapper(F(name), TextField())


def _texts(sources: list[dict[str, str]]) -> list[str]:
    return [source["text"] for source in sources]


def _moved_links(wanted: frozenset[Link], standing: set[Link]) -> set[str]:
    """Return the jobs whose dependencies differ."""
    return {job for job, _, _ in wanted ^ standing}


def _changes(wanted: dict[str, Row], standing: dict[str, _Standing], relinked: set[str]) -> Changes:
    added, changed, restored = [], [], []
    for job_id, row in wanted.items():
        before = standing.get(job_id)
        if before is None:
            added.append(job_id)
        elif before.retired:
            restored.append(job_id)
        elif job_id in relinked or before.compared != _compared(row):
            changed.append(job_id)
    gone = [job_id for job_id, row in standing.items() if job_id not in wanted and not row.retired]
    gone.sort(key=lambda job_id: standing[job_id].position)
    return Changes(tuple(added), tuple(changed), tuple(gone), tuple(restored))


def _apply(wanted: _Wanted, difference: _Difference) -> int | None:
    """Write the difference; return the id of the revision that stands now."""
    now = timezone.now()
    _write_jobs([wanted.jobs[job_id] for job_id in difference.changes.written], now)
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


def _write_jobs(rows: list[Row], now: datetime) -> None:
    others: Row = {
        "retired": False,
        "problem": "",
        "docs": NOBODY_LOOKED,
        "synced_at": str(connection.ops.adapt_datetimefield_value(now)),
    }
    upsert_jobs({**row, **others} for row in rows)


@collector_paused()
def record_checks(
    found: Mapping[str, FunctionCheck], redactor: Redactor, *, unreached: Iterable[str] = ()
) -> dict[str, str]:
    """Record what was found about the jobs' functions; return the problems by job id.

    The `unreached` (for which the time was over) keep what was known of them; where nothing was,
    they get empty docs, so that not every new process tries again.
    """
    # Most jobs that have one function have one and the same answer.
    checks = {id(check): check for check in found.values()}
    texts = {key: _check_columns(check, redactor) for key, check in checks.items()}
    wanted = {job_id: texts[id(check)] for job_id, check in found.items()}
    late = set(unreached)
    if late:
        unknown = Job.objects.active().filter(docs={}).values_list("pk", flat=True)
        wanted |= {job_id: ("", json_text(NO_DOCS)) for job_id in unknown if job_id in late}
    differing = _differing(wanted)
    if differing:
        with _only_writer():
            # Another process may have been faster, or have retired them.
            update_checks(
                {"id": job_id, "problem": wanted[job_id][0], "docs": wanted[job_id][1]}
                for job_id in _differing({job_id: wanted[job_id] for job_id in differing})
            )
    return {job_id: problem for job_id, (problem, _) in wanted.items() if problem}


def _check_columns(check: FunctionCheck, redactor: Redactor) -> tuple[str, str]:
    """Return `problem` and `docs` as the columns hold them."""

    def shown(text: str) -> str:
        return clean_text(redactor.redact(text), MAX_TEXT)

    docs = {
        "signature": shown(check.signature),
        "docstring": shown(check.docstring),
        "parameters": check.parameters,
    }
    return shown(check.problem), json_text(docs)


def _differing(wanted: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the active jobs whose recorded problem or docs are others."""
    differing: list[str] = []
    for ids in _chunks(wanted):
        standing = Job.objects.active().filter(pk__in=ids).order_by()
        differing += [
            job_id
            for job_id, *columns in standing.values_list("pk", "problem", _text_of("docs"))
            if wanted[job_id] != tuple(columns)
        ]
    return differing


def _chunks(items: Sequence[_Item] | Iterable[_Item]) -> Iterator[list[_Item]]:
    items = list(items)
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
