"""What an ended build lets go on: builds of its plan that waited for it start, or end as well.

It is looked at in a transaction of its own, after that which ended the build: of two builds that
end at the same moment the later one sees both. The supervisor looks again for what was missed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import connection, transaction
from django.db.models import Case, OuterRef, Subquery, Value, When
from django.db.models.functions import Now

from builds import queue, story
from builds.models import Build, BuildDependency
from builds.plan_models import Plan
from builds.services import observations
from builds.services.inputs import latest_successful_builds, lock_usable

logger = logging.getLogger(__name__)

CHUNK = 500  # waiting builds that are looked at together
MOST_AWAITED = 10_000

Status = Build.Status
Kind = Build.FailureKind

# For builds that wait, as this process saw it last: the number of one link to a build that had not
# ended. Only a hint where to look first: what uses ten thousand builds would have all of them
# looked at whenever one of them ends.
_awaited: dict[int, int] = {}


def settle_after(ended: Sequence[int]) -> None:
    """Settle, once the caller's transaction is committed, what waits for builds that it ended.

    An error is logged and not raised: what ended has ended, and the supervisor looks again.
    """
    if not ended:
        return

    # No partial: Django asks for the name of what fails here.
    def settle_what_waited() -> None:
        settle_users(ended)

    transaction.on_commit(settle_what_waited, robust=True)


def settle_users(ended: Sequence[int]) -> None:
    """Settle the builds that wait for these ones, and those that wait for them in turn."""
    ended = settle(_users(ended))
    while ended:
        # All at once, as there may be as many generations as builds.
        ended = settle(_all_after(ended))


def _users(ended: Sequence[int]) -> list[int]:
    """Return the builds that wait for these ones, but for those that wait for others as well."""
    went_well: dict[int, bool] = {}
    for start in range(0, len(ended), CHUNK):
        links = BuildDependency.objects.filter(
            dep_build__in=ended[start : start + CHUNK], build__status=Status.WAITING
        )
        for user, status in links.values_list("build_id", "dep_build__status"):
            went_well[user] = went_well.get(user, True) and status in Build.SUCCESS
    held_up = _held_up([user for user, well in went_well.items() if well])
    return sorted(went_well.keys() - held_up)


def _held_up(waiting: Sequence[int]) -> set[int]:
    """Return those of these builds of which it is known where to see that they have to wait on."""
    # In one look each: other threads forget some of them.
    links = [link for number in waiting if (link := _awaited.get(number)) is not None]
    found: set[int] = set()
    for start in range(0, len(links), CHUNK):
        rows = BuildDependency.objects.filter(
            pk__in=links[start : start + CHUNK], dep_build__status__in=Build.UNFINISHED
        )
        found.update(rows.values_list("build_id", flat=True))
    return found


def _all_after(ended: Sequence[int]) -> list[int]:
    """Return the builds that wait for these ones, directly or not, each after what it uses."""
    found: set[int] = set()
    for start in range(0, len(ended), CHUNK):
        numbers = ended[start : start + CHUNK]
        marks = ", ".join(["%s"] * len(numbers))
        with connection.cursor() as cursor:
            cursor.execute(_ALL_AFTER.format(marks=marks), [*numbers, Status.WAITING])
            found.update(number for (number,) in cursor.fetchall())
    # A plan's builds are written down in that order.
    return sorted(found - set(ended))


_ALL_AFTER = f"""
WITH RECURSIVE after_them (id) AS (
    SELECT id FROM {Build._meta.db_table} WHERE id IN ({{marks}})
    UNION
    SELECT build.id FROM after_them
    JOIN {BuildDependency._meta.db_table} link ON link.dep_build_id = after_them.id
    JOIN {Build._meta.db_table} build ON build.id = link.build_id AND build.status = %s
)
SELECT id FROM after_them
"""  # noqa: S608 - names of tables alone


def settle_forgotten() -> int:
    """Settle builds that wait for nothing any more, some thousands at most; return how many.

    For the supervisor: whoever ended what they waited for did not come to it.
    """
    unfinished = BuildDependency.objects.filter(
        build=OuterRef("pk"), dep_build__status__in=Build.UNFINISHED
    )
    # A value of each waiting build, and no EXISTS: that may be made a join with all dependencies.
    first = Subquery(unfinished.order_by().values("pk")[:1])
    free = Build.objects.waiting().annotate(first=first).filter(first=None).order_by("pk")
    numbers = list(free.values_list("pk", flat=True)[:CHUNK])
    settle_users(settle(numbers))
    return len(numbers)


def settle_plan(*, plan: Plan) -> None:
    """Settle what waits in a plan for nothing any more, if anything does."""
    waiting = Build.objects.waiting().filter(plan=plan).order_by("pk")
    settle_users(settle(list(waiting.values_list("pk", flat=True))))


def settle(waiting: Sequence[int]) -> list[int]:
    """Start or end those of these waiting builds whose inputs say so; return what was ended."""
    ended: list[int] = []
    for start in range(0, len(waiting), CHUNK):
        with transaction.atomic():
            ended += _settle(waiting[start : start + CHUNK])
    return ended


@dataclass(frozen=True)
class _Input:
    """A build that a waiting one uses; no status when it was deleted."""

    link: int
    job_id: str
    number: int
    status: str | None
    cancelled_by: int | None

    @property
    def name(self) -> str:
        return f"build #{self.number} of {self.job_id}"


def _settle(numbers: Sequence[int]) -> list[int]:
    # Locked first, in order: the inputs are read when whoever else settles these has committed.
    waiting = Build.objects.waiting().filter(pk__in=numbers).order_by("pk")
    locked = list(waiting.select_for_update(no_key=True).values_list("pk", flat=True))
    inputs = _inputs(locked)
    failed: dict[int, str] = {}
    cancelled: dict[int, str] = {}
    cancelled_by: dict[int, int | None] = {}
    ready: list[int] = []
    # What is ended here is used by others of these, which come after it.
    ends: dict[int, str] = {}
    for number in locked:
        _awaited.pop(number, None)
        used = [(one, ends.get(one.number, one.status)) for one in inputs.get(number, [])]
        failure = next((one for one, status in used if status in (None, Status.FAILED)), None)
        cancel = next((one for one, status in used if status == Status.CANCELLED), None)
        unfinished = [one.link for one, status in used if status in Build.UNFINISHED]
        if failure is not None:
            what = "was deleted" if failure.status is None else "failed"
            failed[number] = f"{failure.name} {what}."
            ends[number] = Status.FAILED
        elif cancel is not None:
            cancelled[number] = f"{cancel.name} was cancelled."
            cancelled_by[number] = cancelled_by.get(cancel.number, cancel.cancelled_by)
            ends[number] = Status.CANCELLED
        elif unfinished:
            _await(number, unfinished[-1])
        else:
            ready.append(number)
    failed |= _replace_skipped({number: inputs.get(number, []) for number in ready})
    _start([number for number in ready if number not in failed])
    _fail(failed)
    _cancel(cancelled, cancelled_by)
    return [*failed, *cancelled]


def _await(number: int, link: int) -> None:
    if len(_awaited) >= MOST_AWAITED:
        _awaited.clear()
    # The last one, as builds are taken in the order of their numbers.
    _awaited[number] = link


def _inputs(numbers: Sequence[int]) -> dict[int, list[_Input]]:
    """Return what these builds use, but for what was successful."""
    links = BuildDependency.objects.filter(build__in=numbers).order_by("pk")
    links = links.exclude(dep_build__status=Status.SUCCESSFUL)
    found: dict[int, list[_Input]] = {}
    of_build = ("dep_build__status", "dep_build__cancel_requested_by")
    for user, link, job_id, number, status, cancelled_by in links.values_list(
        "build_id", "pk", "job_id", "dep_build_number", *of_build
    ):
        used = _Input(link, job_id, number, status, cancelled_by)
        found.setdefault(user, []).append(used)
    return found


def _replace_skipped(ready: dict[int, list[_Input]]) -> dict[int, str]:
    """Use the latest success in place of what was skipped; return for which there is none."""
    skipped = {
        one.number: one.job_id
        for used in ready.values()
        for one in used
        if one.status == Status.SKIPPED
    }
    if not skipped:
        return {}
    latest = latest_successful_builds(skipped.values())
    locked = lock_usable(set(latest.values()))
    failed = {}
    for user, used in ready.items():
        for one in used:
            if one.number not in skipped:
                continue
            number = latest.get(one.job_id)
            if number not in locked:
                failed[user] = f"{one.name} was skipped, and that job has no successful build."
                break
            links = BuildDependency.objects.filter(build=user, job=one.job_id)
            links.update(dep_build=number, dep_build_number=number)
    return failed


def _start(numbers: Sequence[int]) -> None:
    """Hand builds to the workers, or to the process that runs their plan."""
    if not numbers:
        return
    status = Case(When(in_place=True, then=Value(Status.CREATED)), default=Value(Status.QUEUED))
    Build.objects.waiting().filter(pk__in=numbers).update(status=status)
    queued = Build.objects.queued().filter(pk__in=numbers).order_by()
    names = list(queued.values_list("queue", flat=True))
    transaction.on_commit(partial(_tell, "ready", numbers))
    transaction.on_commit(partial(queue.wake_each, names))


def _fail(why: dict[int, str]) -> None:
    if not why:
        return
    texts = [When(pk=number, then=Value(text)) for number, text in why.items()]
    Build.objects.waiting().filter(pk__in=list(why)).update(
        status=Status.FAILED,
        end_time=Now(),
        failure_kind=Kind.UPSTREAM_FAILED,
        exception_type="UpstreamFailed",
        exception_message=Case(*texts, default=Value("")),
    )
    _say(why, logging.ERROR, "Build failed before it began")
    transaction.on_commit(partial(_tell, "upstream_failed", list(why)))


def _cancel(why: dict[int, str], by: dict[int, int | None]) -> None:
    if not why:
        return
    for user in set(by.values()):
        numbers = [number for number in why if by[number] == user]
        Build.objects.waiting().filter(pk__in=numbers).update(
            status=Status.CANCELLED,
            end_time=Now(),
            cancel_requested=Now(),
            cancel_requested_by=user,
        )
    _say(why, logging.WARNING, "Build cancelled before it began")
    transaction.on_commit(partial(_tell, "cancelled_with", list(why)))


def _say(why: dict[int, str], level: int, what: str) -> None:
    messages = {number: f"{what}: {text}" for number, text in why.items()}
    observations.say_each(messages=messages, level=level)


def _tell(event: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        story.tell(logger, event, build=number)
