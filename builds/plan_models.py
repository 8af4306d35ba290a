"""Plans: builds that were asked for together.

A part of `builds.models`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jobs.fields import JSONTextField
from jobs.models import Job


class Plan(models.Model):
    """One wish that took more than one build: a target, what it needs first, what follows it.

    Its builds know it (`builds`), and wait for each other by their inputs; how it stands is said by
    their states alone.
    """

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="plans")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())
    # What was asked for, to ask again: see `builds.services.plans`.
    wish = JSONTextField(default=dict)
    runner = models.CharField(
        max_length=300, blank=True, help_text="the process that runs it in place"
    )
    resumes = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="resumed_by"
    )

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"plan {self.pk} for {self.job_id}"
