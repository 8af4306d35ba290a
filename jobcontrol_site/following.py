"""Following builds and plans until they end, with their progress on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from builds.models import Build
from builds.plan_models import Plan
from builds.plan_status import plan_statuses
from builds.presentation import plan_progress
from builds.progress import progress_tree
from jobcontrol.exceptions import NotFound
from jobcontrol.utils import ProgressReport
from jobcontrol_site.output import LiveProgress

POLL_SECONDS = 0.5


@contextmanager
def displayed(what: Build | Plan, *, human: bool) -> Iterator[None]:
    """Draw the progress on stderr while the body runs, if a `human` looks at it there."""
    if not human or not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    if isinstance(what, Plan):
        title, look = f"Plan {what.pk}", lambda: plan_progress(what)
    else:
        title, look = f"#{what.pk} {what.job_id}", lambda: progress_tree(what)
    with LiveProgress(title) as display:
        # A thread: the job has the main one, where its signals arrive.
        drawer = threading.Thread(target=_draw, args=(look, display, over), daemon=True)
        drawer.start()
        try:
            yield
        finally:
            over.set()
            drawer.join(timeout=5)


def _draw(look: Callable[[], ProgressReport], display: LiveProgress, over: threading.Event) -> None:
    try:
        while not over.wait(POLL_SECONDS):
            display.show(look())
    finally:
        # This thread's own connection.
        connection.close()


def wait_for_build(build: Build, *, human: bool) -> Build:
    """Return the build as it ended, or the last retry of it.

    Raises NotFound when it is deleted meanwhile.
    """
    latest: Build | None = build
    while latest is not None:
        build = latest
        with displayed(build, human=human):
            while not build.finished:
                time.sleep(POLL_SECONDS)
                build = _again(build)
        # It was asked for in the moment in which this one failed.
        attempts = Build.objects.filter(retry_of=build.retry_of_id or build.pk, pk__gt=build.pk)
        latest = attempts.order_by("pk").last()
    return build


def wait_for_plan(plan: Plan, *, human: bool) -> None:
    """Wait until all builds of a plan have ended, retries included."""
    with displayed(plan, human=human):
        while not plan_statuses([plan])[plan.pk].finished:
            time.sleep(POLL_SECONDS)


def _again(build: Build) -> Build:
    found = Build.objects.filter(pk=build.pk).first()
    if found is None:
        raise NotFound(f"build #{build.pk} was deleted while it was waited for")
    return found
