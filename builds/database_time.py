"""Moments in the time of the database, which the clocks of all hosts are measured by."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now


def present() -> models.Expression:
    """Return this moment, in database time."""
    return Now()


def seconds_ago(seconds: float) -> models.Expression:
    """Return the moment so long ago, in database time."""
    return seconds_from_now(-seconds)


def seconds_from_now(seconds: float) -> models.Expression:
    """Return the moment so much later, in database time."""
    later = Now() + models.Value(timedelta(seconds=seconds), output_field=models.DurationField())
    return models.ExpressionWrapper(later, output_field=models.DateTimeField())
