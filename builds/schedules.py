"""Fires the jobs' schedules within the ticks of the supervisor."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from time import monotonic

from django.db import InterfaceError, OperationalError

from builds import services

logger = logging.getLogger(__name__)

STEP_SECONDS = 1.0
# Rows are looked through at each new revision; now and then all the same, should one be missing.
PLAN_SECONDS = 60.0
# A job that fails is left alone for so long: within what is on time, and not a traceback a second.
RETRY_SECONDS = 20.0
# A supervisor that looks so seldom was not there meanwhile.
LONGEST_GAP = timedelta(seconds=60)
# With more to start than it can, times may come so late and are on time all the same.
LONGEST_BACKLOG = timedelta(minutes=15)


class Schedules:
    """What one supervisor does of it; any number may do so side by side."""

    def __init__(self) -> None:
        self._revision: int | None = None
        self._next_plan = float("-inf")
        self._tried: set[str] = set()
        self._failed: dict[str, float] = {}  # until when they are left alone
        self._last_look: datetime | None = None
        self._there_since: datetime | None = None

    def step(self) -> None:
        """Start what is due; one query when nothing is."""
        look = services.look_at_schedules()
        if look is None:
            return
        since = self._since(look.now)
        if look.revision != self._revision or monotonic() >= self._next_plan:
            if services.plan_schedules(now=look.now):
                self._revision = look.revision
            self._next_plan = monotonic() + PLAN_SECONDS
        if not (look.is_due or look.is_waiting):
            return
        deadline = monotonic() + STEP_SECONDS
        for job_id in self._in_turn(services.jobs_to_fire(now=look.now)):
            self._tried.add(job_id)
            try:
                services.fire_job(job_id=job_id, now=look.now, since=since)
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                # Whatever is wrong with this job, the others must not wait for it.
                logger.exception("the schedule of %s can't be followed", job_id)
                self._failed[job_id] = monotonic() + RETRY_SECONDS
            else:
                self._failed.pop(job_id, None)
            if monotonic() > deadline:
                return

    def _in_turn(self, found: list[str]) -> list[str]:
        """Leave out what was tried already, until all had their turn, and what failed lately.

        One that has very much to catch up is due first at each look.
        """
        now = monotonic()
        ready = [job_id for job_id in found if self._failed.get(job_id, now) <= now]
        left = [job_id for job_id in ready if job_id not in self._tried]
        if not left:
            self._tried.clear()
        return left or ready

    def _since(self, now: datetime) -> datetime:
        """Return since when this supervisor has looked all the time; a while ago at most."""
        last, self._last_look = self._last_look, now
        if last is None or not timedelta() <= now - last <= LONGEST_GAP:
            self._there_since = now
        return max(self._there_since or now, now - LONGEST_BACKLOG)
