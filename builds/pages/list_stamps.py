"""What decides how the rows of a list look, by a few queries whatever the size of the tables.

See `builds.pages.stamps`, which makes short texts of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, QuerySet, Subquery
from django.utils import timezone

from builds.crews import Crew, builds_in_place, crews
from builds.deletion_models import Deletion
from builds.models import Build
from builds.pages.stamps import HEARTBEAT_STEP, stamp_of
from builds.schedule_models import ScheduledRun
from builds.upkeep_models import Cluster
from builds.waiting import reasons
from jobs.models import Job
from jobs.schedules import name_of

READ = 1_000  # builds that wait or run
DELETIONS_READ = 100  # the newest
MARKED_READ = 1_000  # jobs with a problem or a paused schedule
STEP = 60  # seconds: how long ago something was is shown in minutes
SOON = timedelta(seconds=60)  # a scheduled time that is about to come

_OF_A_BUILD = ("pk", "status", "start_time", "end_time", "keep", "deleting", "job_id")
_OF_ITS_JOB = ("job__title", "job__schedules")
_OF_ITS_WAIT = ("in_place", "queue", "not_before")


def builds_look(rows: QuerySet[Build]) -> object:
    """Look at the builds of a page, and at what those wait for that have not begun."""
    found = (
        rows.select_related(None)
        .select_related("job")
        .only(*_OF_A_BUILD, *_OF_ITS_WAIT, "job__title")
    )
    builds = list(found)
    facts = [[getattr(build, name) for name in _OF_A_BUILD] for build in builds]
    return facts, [build.job.title for build in builds], reasons(builds)


def plans_look(rows: QuerySet[Any]) -> object:
    """Look at which plans a page shows, and at what may change how any plan stands."""
    return list(rows.values_list("pk", "job__title")), _going_on(), _newest().first()


def runs_look(rows: QuerySet[ScheduledRun]) -> object:
    """Look at what became of the times of a page, and at which of them are about to come."""
    columns = ("pk", "state", "due", "build_id", "build_number", "reason", "job_id", "entry")
    runs = list(rows.select_related(None).select_related("job").only(*columns, *_OF_ITS_JOB))
    facts = [[getattr(run, name) for name in columns] for run in runs]
    names = [(run.job.title, name_of(run.job.schedules, run.entry)) for run in runs]
    return facts, names, [is_about_to_change(run) for run in runs]


def is_about_to_change(run: ScheduledRun) -> bool:
    """Whether a time is about to come, or waits for the build before it."""
    if run.state == ScheduledRun.State.PLANNED:
        return run.due < timezone.now() + SOON
    return run.state == ScheduledRun.State.WAITING


def workers_look(rows: QuerySet[Cluster]) -> object:
    """Look at clusters, which come `with_now`, at what their workers run, and what runs in none."""
    in_place = [build.pk for build in builds_in_place(READ)]
    return [_of_crew(crew) for crew in crews(rows)], in_place


def _of_crew(crew: Crew) -> object:
    cluster = crew.cluster
    workers = [
        (one.pid, [build.pk for build in one.builds], [gone.pk for gone in one.deletions])
        for one in crew.workers
    ]
    facts = cluster.pk, cluster.workers, cluster.trouble, cluster.queue, cluster.drain_requested
    return *facts, crew.state, workers, int(cluster.last_seen.timestamp()) // HEARTBEAT_STEP


def jobs_stamp() -> str:
    """Return the stamp of any page of the list of jobs, whatever it shows.

    How one job stands may be changed by a build of any other; finding out how those of a page
    stand would cost most of what the page costs.
    """
    marked = Job.objects.exclude(problem="", schedule_pause=None).order_by("pk")
    # Where no job is, there is no build either.
    jobs = Job.objects.order_by().annotate(newest=Subquery(_newest()))
    return stamp_of(
        _going_on(),
        jobs.aggregate(Count("pk"), Max("synced_at"), Max("newest")),
        list(marked.values_list("pk", "problem", "schedule_pause")[:MARKED_READ]),
        timezone.now().timestamp() // STEP,
    )


def _newest() -> QuerySet[Build, int]:
    """Return the number of the newest build: one that begins to exist has a new one."""
    return Build.objects.newest_first().values_list("pk", flat=True)[:1]


def _going_on() -> object:
    """Look at what may change how any job or plan stands, by steps into indexes.

    A build that ends is no longer among the unfinished, and one that goes has a deletion. Of more
    than are read here the order is that in which they are worked off, but for deletions: what those
    change may show a minute late.
    """
    unfinished = Build.objects.filter(status__in=Build.UNFINISHED).order_by()
    deletions = Deletion.objects.order_by("-pk").values_list("pk", "state")
    return (
        sorted(unfinished.values_list("pk", "status")[:READ]),
        list(deletions[:DELETIONS_READ]),
    )
