"""Progress bars for tests: stored as a worker stores them, and their addresses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import reverse

from builds.models import Build, BuildProgress
from builds.progress import Node, path_digest, path_text, row_values
from builds.services import store_progress
from jobs.redaction import Redactor


def branch_of(made: Build, key: str, query: str = "") -> str:
    """Return the address of one branch of a build's bars."""
    address = reverse("admin:builds_build_progress", args=[made.pk])
    return f"{address}?branch={key}{query}"


def key(*path: str) -> str:
    """Return what pages call the bar of this path."""
    return path_digest(path_text(path))[:12]


def reported(made: Build, *nodes: Any, ago: float = 0.0) -> None:
    """Store reports (path, current, total, pace) that came so long ago."""
    rows = [
        row_values(Node(path, current, total, "", position, pace), Redactor({}))
        for position, (path, current, total, pace) in enumerate(nodes)
    ]
    store_progress(build_id=made.pk, rows=rows)
    if ago:
        for row in BuildProgress.objects.filter(build=made):
            row.updated -= timedelta(seconds=ago)
            row.save()
