"""Fires the jobs' schedules within the ticks of the supervisor."""

from __future__ import annotations

import logging
from time import monotonic

from django.db import DatabaseError, InterfaceError

from builds import services

logger = logging.getLogger(__name__)

STEP_SECONDS = 1.0
# Rows are looked through at each new revision; now and then all the same, should one be missing.
PLAN_SECONDS = 60.0


class Schedules:
    """What one supervisor does of it; any number may do so side by side."""

    def __init__(self) -> None:
        self._revision: int | None = None
        self._next_plan = float("-inf")

    def step(self) -> None:
        """Start what is due; one query when nothing is."""
        look = services.look_at_schedules()
        if look is None:
            return
        if look.revision != self._revision or monotonic() >= self._next_plan:
            if services.plan_schedules(now=look.now):
                self._revision = look.revision
            self._next_plan = monotonic() + PLAN_SECONDS
        if not (look.is_due or look.is_waiting):
            return
        deadline = monotonic() + STEP_SECONDS
        for job_id in services.jobs_to_fire(now=look.now):
            try:
                services.fire_job(job_id=job_id, now=look.now)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:
                # Whatever is wrong with this job, the others must not wait for it.
                logger.exception("the schedule of %s can't be followed", job_id)
            if monotonic() > deadline:
                return
