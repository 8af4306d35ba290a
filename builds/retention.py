"""How long log messages are kept, and their removal in small steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from builds.models import LogMessage

CHUNK = 5_000  # rows per transaction, so that no lock is held long


@dataclass(frozen=True)
class Rule:
    """Messages of at most `level` go when older than `age`; a level of None means all."""

    level: int | None
    age: timedelta


# The original's policy.
DEFAULT_POLICY: tuple[Rule, ...] = (
    Rule(logging.DEBUG, timedelta(days=15)),
    Rule(logging.INFO, timedelta(days=30)),
    Rule(logging.WARNING, timedelta(days=90)),
    Rule(logging.CRITICAL, timedelta(days=180)),
    Rule(None, timedelta(days=365)),
)


def prune_logs(
    *,
    job: str | None = None,
    build: int | None = None,
    max_age: float | None = None,
    level: int | None = None,
    policy: Sequence[Rule] = DEFAULT_POLICY,
    dry_run: bool = False,
) -> int:
    """Delete log messages and return how many went (or would go, with `dry_run`).

    `max_age` (seconds) and `level` (that level and below) make a rule of their own in place of
    the policy; `job` and `build` narrow either down. Of a running build nothing is deleted.
    """
    rules = policy
    if max_age is not None or level is not None:
        rules = (Rule(level, timedelta(seconds=max_age or 0)),)
    messages = LogMessage.objects.exclude(build__status="RUNNING").order_by()
    if job is not None:
        messages = messages.filter(build__job_id=job)
    if build is not None:
        messages = messages.filter(build_id=build)
    if dry_run:
        return _matching_any(messages, rules).count()
    return sum(_delete(_matching(messages, rule)) for rule in rules)


def _matching(messages: QuerySet[LogMessage], rule: Rule) -> QuerySet[LogMessage]:
    try:
        oldest_kept = timezone.now() - rule.age
    except OverflowError:
        return messages.none()  # nothing is that old
    found = messages.filter(created__lte=oldest_kept)
    return found if rule.level is None else found.filter(level__lte=rule.level)


def _matching_any(messages: QuerySet[LogMessage], rules: Sequence[Rule]) -> QuerySet[LogMessage]:
    found = messages.none()
    for rule in rules:
        found = found | _matching(messages, rule)
    return found


def _delete(messages: QuerySet[LogMessage]) -> int:
    total = 0
    while ids := list(messages.values_list("pk", flat=True)[:CHUNK]):
        total += LogMessage.objects.filter(pk__in=ids).delete()[0]
    return total
