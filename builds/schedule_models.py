"""When jobs are due by their own `schedule`, and what became of each time.

A part of `builds.models`. What the file says stands on the job (`Job.schedules`); these rows are
what happened, and what an operator paused.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jobs.models import Job


class ScheduledRun(models.Model):
    """One due time of one entry of a job's `schedule`; of any number of clusters one fires it."""

    class State(models.TextChoices):
        """Where it stands."""

        PLANNED = "PLANNED", "planned"
        WAITING = "WAITING", "waiting for the build before it"
        STARTED = "STARTED", "started"
        SKIPPED = "SKIPPED", "skipped"
        MISSED = "MISSED", "missed"
        REFUSED = "REFUSED", "refused"

    OPEN = (State.PLANNED, State.WAITING)

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="scheduled_runs")
    entry = models.CharField(max_length=64, help_text="which entry of the job's schedule")
    due = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.PLANNED)
    reason = models.TextField(blank=True, help_text="why it was not started")
    build = models.ForeignKey(
        "builds.Build", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # Kept when the build itself is deleted.
    build_number = models.BigIntegerField(null=True, blank=True)
    decided = models.DateTimeField(null=True, blank=True, help_text="when it left PLANNED")

    class Meta:
        ordering = ["-due", "-id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["job", "entry", "due"], name="builds_one_run_per_time")
        ]
        indexes = [
            # Not partial: SQLite can't use a condition that the query has as parameters.
            models.Index(fields=["state", "due"], name="builds_runs_to_come"),
            models.Index(fields=["job", "-due"], name="builds_runs_of_job"),
            models.Index(fields=["-due", "-id"], name="builds_runs_by_time"),
        ]

    def __str__(self) -> str:
        return f"run of {self.job_id} due at {self.due:%Y-%m-%d %H:%M:%S} UTC"


class SchedulePause(models.Model):
    """A job whose schedule somebody paused; it goes on when the row is deleted."""

    job = models.OneToOneField(
        Job, on_delete=models.CASCADE, primary_key=True, related_name="schedule_pause"
    )
    paused = models.DateTimeField(db_default=Now())
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the schedule of {self.job_id} is paused"
