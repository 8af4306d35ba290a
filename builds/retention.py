"""How long log messages and builds are kept, and which of them have to go.

Everything here goes in small steps, so that no lock is held long and a loop can do other things in
between; a pass that is cut off is simply begun again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from builds import services
from builds.models import Build, LogMessage
from jobs import registry
from jobs.config import ConfigError
from jobs.models import Job
from jobs.retention import ALL, LEVELS, BuildLimits, Retention

logger = logging.getLogger(__name__)

CHUNK = 2_000  # log rows per transaction
PAGE = 200  # builds that are looked at, and perhaps go, at a time


def log_rows(build: Build) -> int:
    """Return how many rows the build's log may have before only WARNING and up are stored."""
    try:
        section = registry.configuration().site.retention
    except ConfigError:
        section = Retention()  # no good file was ever read here
    return _of_job(section, build.job_id, build.payload.config).log_rows


def limits_of(job: Job, section: Retention) -> BuildLimits:
    """Return how many of the job's builds stay, and for how long."""
    return _of_job(section, job.pk, job.config).builds


def _of_job(section: Retention, job_id: str, config: dict[str, object]) -> Retention:
    try:
        return section.of_job(config)
    except ValueError as error:
        # A block that was stored before the key meant anything. Its builds stay.
        logger.warning("job %s: retention: %s; it is not used", job_id, error)
        return Retention(log_rows=section.log_rows)


# --- Logs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """Messages of at most `level`, and above `above`, go when older than `age`; None means all."""

    level: int | None
    age: timedelta
    above: int | None = None

    def holds_for(self, level: int) -> bool:
        """Whether messages of this level fall under it."""
        return (self.level is None or level <= self.level) and (
            self.above is None or level > self.above
        )


def rules_of(section: Retention) -> tuple[Rule, ...]:
    """Return the rules for logs: each level up to its name has its age, `all` bounds everything."""
    rules = [Rule(None, timedelta(seconds=section.logs[ALL]))]
    above = None
    for name, level in LEVELS.items():
        rules.append(Rule(level, timedelta(seconds=section.logs[name]), above))
        above = level
    return tuple(rules)


# The original's policy.
DEFAULT_POLICY: tuple[Rule, ...] = rules_of(Retention())


def prune_logs(
    *,
    job: str | None = None,
    build: int | None = None,
    max_age: float | None = None,
    level: int | None = None,
    policy: Sequence[Rule] | None = None,
    dry_run: bool = False,
) -> int:
    """Delete log messages and return how many went (or would go, with `dry_run`).

    `max_age` (seconds) and `level` (that level and below) make a rule of their own in place of
    the policy, which is the file's unless given; `job` and `build` narrow either down. Of a running
    build nothing is deleted. Raises ConfigError when the file is needed and is wrong.
    """
    rules = policy
    if max_age is not None or level is not None:
        rules = (Rule(level, timedelta(seconds=max_age or 0)),)
    elif rules is None:
        rules = rules_of(registry.configuration().site.retention)
    messages = _removable_messages()
    if job is not None:
        messages = messages.filter(build__job_id=job)
    if build is not None:
        messages = messages.filter(build_id=build)
    if dry_run:
        return sum(found.count() for found in _too_old(messages, rules))
    return sum(_deleted(messages, rules))


def log_steps(rules: Sequence[Rule]) -> Iterator[int]:
    """Delete messages by the rules, a chunk at each step; yield how many went."""
    return _deleted(_removable_messages(), rules)


def _removable_messages() -> QuerySet[LogMessage]:
    return LogMessage.objects.exclude(build__status=Build.Status.RUNNING).order_by()


def _deleted(messages: QuerySet[LogMessage], rules: Sequence[Rule]) -> Iterator[int]:
    for found in _too_old(messages, rules):
        while ids := list(found.values_list("pk", flat=True)[:CHUNK]):
            yield LogMessage.objects.filter(pk__in=ids).delete()[0]
        yield 0


def _too_old(
    messages: QuerySet[LogMessage], rules: Sequence[Rule]
) -> Iterator[QuerySet[LogMessage]]:
    """Yield, level by level, the messages that go: so the index by level and age finds them."""
    now = timezone.now()
    for level in _levels():
        ages = [rule.age for rule in rules if rule.holds_for(level)]
        oldest_kept = _before(now, min(ages)) if ages else None
        if oldest_kept is not None:
            yield messages.filter(level=level, created__lte=oldest_kept)


def _levels() -> list[int]:
    """Return the levels that messages have: one look into the index for each."""
    found: list[int] = []
    while True:
        higher = LogMessage.objects.filter(level__gt=found[-1] if found else -1)
        lowest = higher.aggregate(lowest=Min("level"))["lowest"]
        if lowest is None:
            return found
        found.append(lowest)


def _before(now: datetime, age: timedelta) -> datetime | None:
    try:
        return now - age
    except OverflowError:
        return None  # nothing is that old


# --- Builds ---------------------------------------------------------------------------------------


def prunable_pages(
    job_id: str, limits: BuildLimits, *, page: int | None = None
) -> Iterator[list[int]]:
    """Yield the builds of a job that are past the limits and may go, oldest first, page by page.

    A page may be empty. What may go is checked again when it goes (see `services.prune_builds`).
    """
    if limits.is_empty:
        return
    size = PAGE if page is None else page
    first_kept = _first_within_count(job_id, limits.count)
    done = 0
    while True:
        rows = list(
            Build.objects.filter(job_id=job_id, pk__gt=done)
            .order_by("pk")
            .annotate(ended=Coalesce("end_time", "created"), now=Now())
            .values_list("pk", "created", "ended", "now")[:size]
        )
        if not rows:
            return
        done = rows[-1][0]
        oldest = None if limits.age is None else rows[0][3] - timedelta(seconds=limits.age)
        wanted = [
            number
            for number, _, ended, _ in rows
            if number < first_kept or (oldest is not None and ended < oldest)
        ]
        yield services.prunable_builds(job_id=job_id, builds=wanted) if wanted else []
        # Builds are asked for in the order of their numbers, or nearly so.
        is_young = oldest is None or all(created >= oldest for _, created, _, _ in rows)
        if done >= first_kept and is_young:
            return


def _first_within_count(job_id: str, count: int | None) -> int:
    """Return the number of the oldest build that the limit of their number leaves; 0 for all."""
    if count is None:
        return 0
    newest = Build.objects.finished().filter(job_id=job_id, deleting=False).order_by("-pk")
    return newest.values_list("pk", flat=True)[count - 1 : count].first() or 0


def jobs_with_limits(section: Retention, job: str | None = None) -> list[tuple[str, BuildLimits]]:
    """Return the jobs, retired ones too, whose builds are limited."""
    jobs = Job.objects.order_by("position", "pk").only("pk", "config")
    found = [(each.pk, limits_of(each, section)) for each in (jobs.filter(pk=job) if job else jobs)]
    return [(job_id, limits) for job_id, limits in found if not limits.is_empty]


def build_steps(section: Retention, job: str | None = None) -> Iterator[services.Pruned]:
    """Reserve the builds that have to go for their removal, a page at each step."""
    for job_id, limits in jobs_with_limits(section, job):
        for page in prunable_pages(job_id, limits):
            if page:
                yield services.prune_builds(job_id=job_id, builds=page)
            else:
                yield services.Pruned(0, 0)
