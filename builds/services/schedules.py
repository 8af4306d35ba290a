"""Firing the jobs' own schedules: each due time once, over any number of supervisors.

A row of an entry that is PLANNED says when it is due next. All that changes the open rows of a job
does so under the lock of the job's row, in the transaction that makes the build and plans the next
time: so nothing is lost with a process, and nothing is done twice. Time is database time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, Max, Min, OuterRef, QuerySet, Subquery

from builds import database_time
from builds.models import Build
from builds.schedule_models import ScheduledRun, SchedulePause
from builds.services.requests import request_build
from jobcontrol.exceptions import InvalidRequest, JobControlException
from jobcontrol.utils.text import clean_text
from jobs import registry, schedules
from jobs.models import ConfigRevision, Job
from jobs.schedules import Schedule

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

State = ScheduledRun.State

# A time that is looked at so late is still on time; later, `catch_up` says what becomes of it.
ON_TIME = timedelta(seconds=60)
JOBS_AT_ONCE = 10_000
RUNS_AT_ONCE = 20  # of one job, in one transaction
PLANNED_AT_ONCE = 100  # jobs
MAX_WAITING = 100  # runs of one job
MAX_COUNTED = 1_000  # missed times
MAX_REASON = 2_000  # characters
_NOBODY = "no cluster was there to start it in time"
UNFINISHED = (Build.Status.WAITING, Build.Status.QUEUED, Build.Status.RUNNING)


@dataclass(frozen=True)
class Look:
    """What there is to do at `now`; `revision` is that of the configuration."""

    now: datetime
    revision: int
    is_due: bool
    is_waiting: bool


def look_at_schedules() -> Look | None:
    """Return what there is to do, in one query; None while no configuration was ever synced."""
    planned = ScheduledRun.objects.filter(state=State.PLANNED).order_by("due").values("due")[:1]
    waiting = ScheduledRun.objects.filter(state=State.WAITING)
    rows = ConfigRevision.objects.annotate(
        now=database_time.present(), due=Subquery(planned), waiting=Exists(waiting)
    )
    row = rows.order_by("-pk").values_list("pk", "now", "due", "waiting").first()
    if row is None:
        return None
    revision, now, due, is_waiting = row
    return Look(now, revision, due is not None and due <= now, is_waiting)


def entries_of(job: Job) -> dict[str, Schedule]:
    """Return the entries of a job's schedule by their keys; a retired job has none."""
    return {} if job.retired else schedules.stored(job.schedules)


# --- Planning -------------------------------------------------------------------------------------


def plan_schedules(*, now: datetime) -> bool:
    """Give each entry that has none the row of its next time, and drop those of other entries.

    Entries are as the registry has them, so a broken file changes nothing. Returns whether that is
    done: of very many jobs some are left for the next call.
    """
    jobs = Job.objects.active().exclude(schedules=[]).values_list("pk", "schedules")
    wanted = {(job_id, row["key"]) for job_id, rows in jobs for row in rows}
    open_rows = ScheduledRun.objects.filter(state__in=ScheduledRun.OPEN).order_by()
    standing = set(open_rows.values_list("job_id", "entry", "state").distinct())
    planned = {(job_id, key) for job_id, key, state in standing if state == State.PLANNED}
    stale = {(job_id, key) for job_id, key, _ in standing} - wanted
    to_plan = sorted({job_id for job_id, _ in (wanted - planned) | stale})
    done: list[bool] = []
    for job_id in to_plan:
        if len(done) == PLANNED_AT_ONCE:
            return False
        try:
            done.append(plan_job(job_id=job_id, now=now))
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # Such as a time zone that this host does not know. The others must not wait for it.
            logger.exception("the schedule of %s can't be planned", job_id)
    return all(done)


@transaction.atomic
def plan_job(*, job_id: str, now: datetime) -> bool:
    """Make the open rows of a job fit its entries; return False while another process has it."""
    job = _locked(job_id)
    if job is None:
        return False
    entries = entries_of(job)
    _drop_others(job, entries)
    own = ScheduledRun.objects.filter(job=job)
    planned = set(own.filter(state=State.PLANNED).values_list("entry", flat=True))
    for key, entry in entries.items():
        if key not in planned:
            # Not before what was decided already, should the clock have been put back.
            last = own.filter(entry=key).aggregate(last=Max("due"))["last"]
            _plan_next(job, key, entry, max(now, last or now))
    return True


def _locked(job_id: str) -> Job | None:
    jobs = Job.objects.select_for_update(skip_locked=True, no_key=True)
    return jobs.filter(pk=job_id).first()


def _drop_others(job: Job, keys: Collection[str]) -> None:
    own = ScheduledRun.objects.filter(job=job, state__in=ScheduledRun.OPEN)
    own.exclude(entry__in=list(keys)).delete()


def _plan_next(job: Job, key: str, entry: Schedule, after: datetime) -> None:
    due = next(entry.due_after(after), None)
    if due is not None:
        _plan(job, key, due)


def _plan(job: Job, key: str, due: datetime) -> None:
    ScheduledRun.objects.bulk_create(
        [ScheduledRun(job=job, entry=key, due=due)], ignore_conflicts=True
    )


# --- Firing ---------------------------------------------------------------------------------------


def jobs_to_fire(*, now: datetime) -> list[str]:
    """Return the jobs of which a time is due, then those of which a waiting run may start."""
    due = ScheduledRun.objects.filter(state=State.PLANNED, due__lte=now)
    unfinished = Build.objects.filter(job=OuterRef("job"), status__in=UNFINISHED)
    free = ScheduledRun.objects.filter(~Exists(unfinished), state=State.WAITING)
    found = [job_id for runs in (due, free) for job_id in _jobs_of(runs)]
    return list(dict.fromkeys(found))


def _jobs_of(runs: QuerySet[ScheduledRun]) -> Iterable[str]:
    firsts = runs.order_by().values("job_id").annotate(first=Min("due")).order_by("first")
    return firsts.values_list("job_id", flat=True)[:JOBS_AT_ONCE]


@transaction.atomic
def fire_job(*, job_id: str, now: datetime, since: datetime | None = None) -> None:
    """Decide what becomes of the times of a job that are due; some, of very many.

    `since` is from when on the caller was there to start them: what it did not come to is not
    missed. Does nothing while another process has the job.
    """
    job = _locked(job_id)
    if job is not None:
        _Firing(job, now, since or now).run()


class _Firing:
    """What becomes of a job's due times, while its row is locked."""

    def __init__(self, job: Job, now: datetime, since: datetime) -> None:
        self.job = job
        self.now = now
        self.on_time_since = since - ON_TIME
        self.entries = entries_of(job)
        self.is_paused = SchedulePause.objects.filter(job=job).exists()
        self.own = ScheduledRun.objects.filter(job=job)

    def run(self) -> None:
        _drop_others(self.job, self.entries)
        self.start_waiting()
        for _ in range(RUNS_AT_ONCE):
            if not self.decide_next():
                return

    def decide_next(self) -> bool:
        """Settle the first of the times that are due; return whether there was one."""
        due = self.own.filter(state=State.PLANNED, due__lte=self.now).order_by("due", "pk")
        run = due.first()
        if run is not None:
            self.decide(run, self.entries[run.entry])
        return run is not None

    def decide(self, run: ScheduledRun, entry: Schedule) -> None:
        """Settle a time that is due, and plan the next one of its entry."""
        if self.is_paused:
            self.miss(run, entry, "the schedule was paused", until=self.now)
        elif run.due >= self.on_time_since or entry.catch_up == "all":
            self.start_if_free(run, entry)
            _plan_next(self.job, run.entry, entry, run.due)
        elif entry.catch_up == "last":
            newest = entry.newest_due(run.due, self.now)
            if newest is None:
                self.start_if_free(run, entry)
                _plan_next(self.job, run.entry, entry, run.due)
                return
            before = newest - timedelta(microseconds=1)
            self.miss(run, entry, _NOBODY, until=before)
        else:
            self.miss(run, entry, _NOBODY, until=self.on_time_since - timedelta(microseconds=1))

    def miss(self, run: ScheduledRun, entry: Schedule, reason: str, *, until: datetime) -> None:
        """Record in one row that this time and all others until then were missed."""
        last = entry.newest_due(run.due, until)
        if last is not None:
            times = takewhile(lambda due: due <= last, entry.due_after(run.due))
            count = sum(1 for _ in islice(times, MAX_COUNTED + 1))
            many = str(count) if count <= MAX_COUNTED else f"over {MAX_COUNTED:,}"
            reason += f". With it {many} more, the last due at {last:%Y-%m-%d %H:%M:%S} UTC"
        self.settle(run, State.MISSED, f"{reason}.")
        _plan_next(self.job, run.entry, entry, max(until, run.due))

    def start_if_free(self, run: ScheduledRun, entry: Schedule) -> None:
        """Start it, or let it wait or pass, as `overlap` says."""
        unfinished = self.unfinished()
        if entry.overlap == "skip" and unfinished:
            self.settle(run, State.SKIPPED, f"build #{unfinished} had not ended.")
            return
        waiting = self.own.filter(state=State.WAITING)
        if entry.overlap == "queue" and (unfinished or waiting.exists()):
            if waiting[:MAX_WAITING].count() < MAX_WAITING:
                self.own.filter(pk=run.pk).update(state=State.WAITING, decided=self.now)
            else:
                self.settle(run, State.SKIPPED, f"{MAX_WAITING} runs before it still waited.")
            return
        self.start(run, entry)

    def start_waiting(self) -> None:
        """Start the first of the runs that wait, if no build is in its way any more."""
        waiting = self.own.filter(state=State.WAITING).order_by("due", "pk")
        if self.is_paused:
            reason = "the schedule was paused while it waited."
            waiting.update(state=State.MISSED, reason=reason, decided=self.now)
            return
        # One that is refused leaves the way free for the next.
        for run in waiting[:RUNS_AT_ONCE]:
            if self.unfinished():
                return
            self.start(run, self.entries[run.entry])

    def unfinished(self) -> int | None:
        """Return the oldest build of the job that waits or runs."""
        builds = Build.objects.filter(job=self.job, status__in=UNFINISHED)
        return builds.order_by("pk").values_list("pk", flat=True).first()

    def start(self, run: ScheduledRun, entry: Schedule) -> None:
        """Ask for the build; the file that gives a protected job a schedule has armed it."""
        try:
            build = request_build(
                job=self.job,
                trigger=Build.Trigger.SCHEDULE,
                arm=True,
                args=entry.args,
                kwargs=entry.kwargs,
            )
        except JobControlException as error:
            self.settle(run, State.REFUSED, str(error))
        else:
            self.settle(run, State.STARTED, build=build)

    def settle(
        self, run: ScheduledRun, state: State, reason: str = "", build: Build | None = None
    ) -> None:
        text = clean_text(registry.redactor().redact(reason), MAX_REASON)
        self.own.filter(pk=run.pk).update(
            state=state,
            reason=text,
            decided=self.now,
            build=build,
            build_number=build.pk if build else None,
        )
        if build is None:
            # What the file or an operator wanted is no trouble.
            as_wanted = state == State.SKIPPED or self.is_paused
            level = logging.INFO if as_wanted else logging.WARNING
            due = f"{run.due:%Y-%m-%d %H:%M:%S} UTC"
            logger.log(level, "%s, due at %s: %s: %s", self.job.pk, due, state.label, text)


# --- Pausing --------------------------------------------------------------------------------------


def pause_schedule(*, job: Job, user: User | None = None) -> bool:
    """Let no time of the job's schedule start it any more; return False when it was so already.

    Raises InvalidRequest for a job without a schedule.
    """
    if not entries_of(job):
        raise InvalidRequest(f"job {job.id!r} has no schedule in the configuration file.")
    _, is_new = SchedulePause.objects.get_or_create(job=job, defaults={"paused_by": user})
    return is_new


@transaction.atomic
def resume_schedule(*, job: Job) -> bool:
    """Let the schedule go on from now; return False when it was not paused.

    What was due meanwhile stays missed, whatever `catch_up` says.
    """
    jobs = Job.objects.select_for_update(no_key=True)
    locked = jobs.get(pk=job.pk)
    look = look_at_schedules()
    if look is not None and SchedulePause.objects.filter(job=job).exists():
        firing = _Firing(locked, look.now, look.now)
        firing.run()
        # All of them, or those that are left would be caught up: each entry has one that is due.
        while firing.decide_next():
            pass
    return bool(SchedulePause.objects.filter(job=job).delete()[0])
