"""What every admin page says about the workers: that none takes builds, or what troubles one."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F, Subquery
from django.http import HttpRequest

from builds.crews import is_alive, with_now
from builds.models import Build
from builds.upkeep_models import Cluster
from jobs.database import joined
from jobs.policies import DEFAULT_QUEUE

QUEUES_SHOWN = 5
REMEMBERED_SECONDS = 5  # a page in between may tell what was true so long ago


def workers(request: HttpRequest) -> dict[str, Any]:
    """Give logged-in staff `worker_command`, what starts a worker, when none lives.

    `workers_drained`: whether all that live were asked to drain; `worker_troubles`, what they say;
    `unserved_queues`: those in which builds wait though no live cluster takes them. For anybody
    else all of it is empty.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff):
        nothing: dict[str, Any] = {"worker_command": "", "workers_drained": False}
        return {**nothing, "worker_troubles": [], "unserved_queues": []}
    is_worked = is_any_alive()
    return {
        "worker_command": "" if is_worked else worker_command(),
        "workers_drained": is_worked and not _Remembered.takes_builds,
        "worker_troubles": _Remembered.troubles,
        "unserved_queues": [(name, worker_command(name)) for name in _Remembered.unserved],
    }


def worker_facts() -> object:
    """Return what `workers` tells of, as cheaply as can be: pages that are open ask often."""
    is_worked = is_any_alive()
    return is_worked, _Remembered.takes_builds, _Remembered.troubles, _Remembered.unserved


class _Remembered:
    """What was found when it was last looked for, in this process."""

    clusters: list[Cluster] = []  # also those that are lost
    alive = False
    takes_builds = False
    troubles: list[str] = []  # each as one line
    unserved: list[str] = []  # queues
    until = float("-inf")  # as time.monotonic() counts


def is_any_alive() -> bool:
    """Whether a cluster said lately that it lives; looked up every few seconds at most."""
    now = time.monotonic()
    if now >= _Remembered.until:
        found: list[Any] = list(with_now(Cluster.objects.annotate(asked=_queues_asked())))
        _Remembered.clusters = found
        alive = [one for one in _Remembered.clusters if is_alive(one)]
        _Remembered.alive = bool(alive)
        _Remembered.takes_builds = any(one.drain_requested is None for one in alive)
        _Remembered.troubles = [f"{one}: {one.trouble}" for one in alive if one.trouble]
        asked = (found[0].asked or "").split(",") if _Remembered.takes_builds else []
        _Remembered.unserved = _unserved(asked, alive)
        _Remembered.until = now + REMEMBERED_SECONDS
    return _Remembered.alive


def clusters() -> list[Cluster]:
    """Return the clusters that were heard of within a day, `with_now`; as old as the rest here."""
    is_any_alive()
    return _Remembered.clusters


def live_clusters() -> list[Cluster]:
    """Return those of `clusters` that live."""
    return [one for one in clusters() if is_alive(one)]


def _queues_asked() -> Subquery:
    """Return the queues in which builds wait, as one text: looked up once beside the clusters."""
    names = joined(F("queue"))
    return Subquery(Build.objects.queued().order_by().values(names=names))


def _unserved(asked: Iterable[str], alive: Iterable[Cluster]) -> list[str]:
    taking = [cluster for cluster in alive if cluster.drain_requested is None]
    served = {name for cluster in taking for name in cluster.queues}
    return sorted({name for name in asked if name} - served)[:QUEUES_SHOWN]


def forget() -> None:
    """Look again next time."""
    _Remembered.until = float("-inf")


def worker_command(queue: str = DEFAULT_QUEUE) -> str:
    """Return the command that starts workers of this site for a queue, to be typed in a shell."""
    choice = [] if queue == DEFAULT_QUEUE else ["--queue", queue]
    script = Path(sys.executable).with_name("jobcontrol-cli")
    if os.access(script, os.X_OK):
        words = [str(script), "--config-file", settings.JOBCONTROL_CONFIG, "worker", *choice]
        return shlex.join(words)
    words = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster", *choice]
    return f"JOBCONTROL_CONFIG={shlex.quote(settings.JOBCONTROL_CONFIG)} {shlex.join(words)}"
