"""What every admin page says about the workers: that none takes builds, or what troubles one."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from builds import services

REMEMBERED_SECONDS = 5  # a page in between may tell what was true so long ago


def workers(request: HttpRequest) -> dict[str, Any]:
    """Give logged-in staff `worker_command`, what starts a worker, when none lives.

    And `workers_drained`, whether all that live were asked to drain, and `worker_troubles`, what
    they say. For anybody else all of it is empty.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff):
        return {"worker_command": "", "workers_drained": False, "worker_troubles": []}
    is_alive = is_any_alive()
    return {
        "worker_command": "" if is_alive else worker_command(),
        "workers_drained": is_alive and not _Remembered.takes_builds,
        "worker_troubles": _Remembered.troubles,
    }


class _Remembered:
    """What was found when it was last looked for, in this process."""

    alive = False
    takes_builds = False
    troubles: list[str] = []  # each as one line
    until = float("-inf")  # as time.monotonic() counts


def is_any_alive() -> bool:
    """Whether a cluster said lately that it lives; looked up every few seconds at most."""
    now = time.monotonic()
    if now >= _Remembered.until:
        alive = list(services.live_clusters())
        _Remembered.alive = bool(alive)
        _Remembered.takes_builds = any(one.drain_requested is None for one in alive)
        _Remembered.troubles = [f"{one}: {one.trouble}" for one in alive if one.trouble]
        _Remembered.until = now + REMEMBERED_SECONDS
    return _Remembered.alive


def forget() -> None:
    """Look again next time."""
    _Remembered.until = float("-inf")


def worker_command() -> str:
    """Return the command that starts the workers of this site, to be typed in a shell."""
    script = Path(sys.executable).with_name("jobcontrol-cli")
    if os.access(script, os.X_OK):
        words = [str(script), "--config-file", settings.JOBCONTROL_CONFIG, "worker"]
        return shlex.join(words)
    words = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
    return f"JOBCONTROL_CONFIG={shlex.quote(settings.JOBCONTROL_CONFIG)} {shlex.join(words)}"
