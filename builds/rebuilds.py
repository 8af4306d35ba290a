"""Starts automatic rebuilds within the ticks of the supervisor."""

from __future__ import annotations

import logging
from time import monotonic

from django.db import InterfaceError, OperationalError

from builds import services

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# A look that takes long, with very many such jobs, comes more seldom.
REST = 20
JOBS_AT_ONCE = 50


class Rebuilds:
    """What one supervisor does of it; any number may do so side by side."""

    def __init__(self) -> None:
        self._next_look = float("-inf")
        self._first = 0

    def step(self) -> None:
        """Look whether some job has newer inputs; one query when none has."""
        start = monotonic()
        if start < self._next_look:
            return
        found = services.jobs_to_rebuild()
        # Some of them can't be rebuilt now: those are not always the first to be tried.
        self._first = self._first if self._first < len(found) else 0
        chosen = found[self._first : self._first + JOBS_AT_ONCE]
        self._first += JOBS_AT_ONCE
        self._next_look = monotonic() + max(LOOK_SECONDS, REST * (monotonic() - start))
        for job_id in chosen:
            try:
                services.rebuild_job(job_id=job_id)
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                # Whatever is wrong with this job, the others must not wait for it.
                logger.exception("%s can't be rebuilt by itself", job_id)
