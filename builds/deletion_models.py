"""Deletions of builds.

A part of `builds.models`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jobs.fields import JSONTextField
from jobs.models import Job


class Deletion(models.Model):
    """A deletion and what became of it: kept after the build itself is gone."""

    class State(models.TextChoices):
        """Where it stands."""

        WAITING = "WAITING", "waiting"
        RUNNING = "RUNNING", "running"
        DONE = "DONE", "done"
        FAILED = "FAILED", "failed"

    class Outcome(models.TextChoices):
        """How the cleanup ended."""

        NO_CLEANUP = "no_cleanup", "no cleanup function"
        SKIPPED = "skipped", "deleted without cleanup"
        DONE = "done", "cleaned up"
        FAILED = "failed", "cleanup failed, build kept"

    UNDER_WAY = (State.WAITING, State.RUNNING)

    build_number = models.BigIntegerField()
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="deletions")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())
    ended = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    cleanup = models.BooleanField(default=True, help_text="whether the cleanup function is called")
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True)
    cleanup_function = models.CharField(max_length=500, blank=True)
    pruned = models.BooleanField(default=False, help_text="by the file's retention, by nobody")
    worker = models.CharField(max_length=300, blank=True, help_text="see builds.workers")
    claim_token = models.UUIDField(null=True, blank=True, unique=True)
    heartbeat = models.DateTimeField(null=True, blank=True)
    log = models.TextField(blank=True)
    traceback = JSONTextField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["build_number"], name="builds_deletions"),
            # Of all states: of an index of two, SQLite does not see that it has those of one.
            models.Index(fields=["state", "id"], name="builds_deletions_to_do"),
        ]

    def __str__(self) -> str:
        return f"deletion of build #{self.build_number} of {self.job_id}"

    @property
    def calls_function(self) -> bool:
        """Whether a cleanup function is called before the build goes."""
        return bool(self.cleanup and self.cleanup_function)
