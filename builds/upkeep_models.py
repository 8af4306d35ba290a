"""What upkeep remembers: clusters that live, builds to delete, and who does a night's work.

A part of `builds.models`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jobs.fields import JSONTextField
from jobs.policies import DEFAULT_QUEUE, MAX_QUEUE


class BulkDeletion(models.Model):
    """Builds that somebody chose to be deleted together; the supervisor asks for them bit by bit.

    Until it is confirmed (`asked`) it is only a choice, and is forgotten after a day.
    """

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())
    count = models.PositiveIntegerField(help_text="builds chosen")
    asked = models.DateTimeField(null=True, blank=True)
    cleanup = models.BooleanField(default=True, help_text="whether cleanup functions are called")
    handed_over = models.PositiveIntegerField(default=0, help_text="deletions made of it")
    refused = models.PositiveIntegerField(default=0, help_text="builds that could not be deleted")
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"deletion of {self.count} builds"


class BulkDeletionPart(models.Model):
    """Some of the builds of a bulk deletion that no deletion was made of yet."""

    bulk = models.ForeignKey(BulkDeletion, on_delete=models.CASCADE, related_name="parts")
    numbers = JSONTextField(help_text="numbers of builds")

    class Meta:
        ordering = ["id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"part {self.pk} of bulk deletion {self.bulk_id}"


class Night(models.Model):
    """The nightly upkeep of one day: whichever cluster makes the row does the work."""

    date = models.DateField(primary_key=True)
    worker = models.CharField(max_length=300, help_text="see builds.workers")
    started = models.DateTimeField(db_default=Now())
    # One whose last word is old has died of it; another cluster goes on.
    last_seen = models.DateTimeField()
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-date"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"upkeep of {self.date}"


class Cluster(models.Model):
    """The main process of a `qcluster` that said, a while ago or just now, that it lives."""

    identity = models.CharField(max_length=300, primary_key=True, help_text="see builds.workers")
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    workers = models.PositiveIntegerField()
    started = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField()
    trouble = models.TextField(blank=True, help_text="what keeps it from working as it should")
    queue = models.CharField(max_length=MAX_QUEUE, default=DEFAULT_QUEUE)
    processes = JSONTextField(default=list, help_text="of its workers: see workers.describe")
    # What its supervisor made of the request: False until no worker of it takes anything more.
    draining = models.BooleanField(default=False)
    drain_requested = models.DateTimeField(null=True, blank=True)
    drain_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    @property
    def queues(self) -> list[str]:
        """The queues whose builds it runs."""
        return self.queue.split(",")

    class Meta:
        ordering = ["host", "started", "identity"]
        verbose_name_plural = "workers"
        default_permissions = ("view",)
        permissions = [("drain_cluster", "Can drain clusters and take them up again")]

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"
