"""A build and what belongs to it, as of one moment, while a worker goes on writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from builds.models import Build

T = TypeVar("T")

_TRIES = 5


def read_together(build: Build, read: Callable[[Build], T]) -> T:
    """Return `read(build)`, read again when the build's status changed meanwhile.

    Otherwise a build that was QUEUED a moment ago would be shown beside the progress of its run.
    No transaction does this on both databases: on SQLite it would keep the writers out.
    """
    for _ in range(_TRIES):
        found = read(build)
        if build.finished:
            break
        now = Build.objects.select_related("job", "requested_by").filter(pk=build.pk).first()
        if now is None or now.status == build.status:
            break
        build = now
    return found
