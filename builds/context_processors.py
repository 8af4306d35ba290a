"""What every admin page says about the workers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from builds import services

CACHE_KEY = "builds.workers_alive"
CACHE_SECONDS = 5  # a page in between may tell what was true so long ago


def workers(request: HttpRequest) -> dict[str, Any]:
    """Give `worker_command` to logged-in staff when no worker lives: what starts one.

    For anybody else, and while a cluster lives, it is empty.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff) or is_any_alive():
        return {"worker_command": ""}
    return {"worker_command": worker_command()}


def is_any_alive() -> bool:
    """Whether a cluster said lately that it lives; looked up every few seconds at most."""
    known = cache.get(CACHE_KEY)
    if known is None:
        known = services.live_clusters().exists()
        cache.set(CACHE_KEY, known, CACHE_SECONDS)
    return bool(known)


def worker_command() -> str:
    """Return the command that starts the workers of this site, to be typed in a shell."""
    script = Path(sys.executable).with_name("jobcontrol-cli")
    if os.access(script, os.X_OK):
        words = [str(script), "--config-file", settings.JOBCONTROL_CONFIG, "worker"]
        return shlex.join(words)
    words = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
    return f"JOBCONTROL_CONFIG={shlex.quote(settings.JOBCONTROL_CONFIG)} {shlex.join(words)}"
