"""When a job is due by itself, and what became of its last times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from builds.schedule_models import ScheduledRun, SchedulePause
from builds.services import entries_of
from jobs import tags
from jobs.models import Job
from jobs.schedules import Schedule, runs_after

NEXT_SHOWN = 5
RUNS_SHOWN = 5


def next_times(job: Job, count: int = NEXT_SHOWN) -> list[tuple[datetime, Schedule]]:
    """Return when the job is due next by the entries of its schedule, and by which."""
    return list(islice(runs_after(entries_of(job).values(), timezone.now()), count))


def paused_jobs(jobs: Iterable[Job]) -> set[str]:
    """Return those of the jobs whose schedule is paused."""
    ids = [job.pk for job in jobs if job.schedules]
    if not ids:
        return set()
    return set(SchedulePause.objects.filter(job__in=ids).values_list("job_id", flat=True))


def last_runs(job: Job) -> list[ScheduledRun]:
    """Return the last times at which a job was due, newest first."""
    runs = ScheduledRun.objects.filter(job=job).exclude(state=ScheduledRun.State.PLANNED)
    return list(runs.select_related("build")[:RUNS_SHOWN])


def schedule_part(job: Job, last: Sequence[ScheduledRun]) -> dict[str, Any]:
    """Return what a job's page shows of its schedule; empty where there is and was none."""
    entries = entries_of(job)
    if not (entries or last):
        return {}
    # Comes with the job, where its page looked it up (`Job.schedule_pause`).
    pause = getattr(job, "schedule_pause", None)
    return {
        "entries": [_entry_line(entry) for entry in entries.values()],
        "pause": pause,
        "next_runs": [] if pause else [_next_line(*found) for found in next_times(job)],
        "last_runs": last,
    }


def _entry_line(entry: Schedule) -> dict[str, Any]:
    given = {"args": entry.args, "kwargs": entry.kwargs}
    own = {name: value for name, value in given.items() if value is not None}
    # The arguments come from the stored entry: references stand where secrets did.
    return {"entry": entry, "arguments": tags.to_yaml(own) if own else ""}


def _next_line(due: datetime, entry: Schedule) -> dict[str, Any]:
    local = due.astimezone(ZoneInfo(entry.timezone))
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    return {"due": due, "entry": entry, "there": f"{clock} {local.tzname()}"}
