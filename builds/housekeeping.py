"""The upkeep of the database, in small steps within the ticks of the supervisor.

At any time it makes the deletions of very many builds that somebody asked for; once a night, over
any number of clusters, it prunes logs and builds as the file says and forgets what nobody needs.
It has no thread: a step ends after `STEP_SECONDS`, and the next one goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import date
from time import monotonic

from django.core.management import call_command
from django.utils import timezone

from builds import retention, services
from builds.workers import WorkerIdentity
from jobs import registry
from jobs.config import ConfigError
from jobs.retention import Retention

logger = logging.getLogger(__name__)

STEP_SECONDS = 0.3
LOOK_SECONDS = 60.0  # between two looks whether a night's upkeep is to be done
HOLD_SECONDS = 30.0  # between two words that it goes on
HOUR = 3  # of the day, in the site's time zone, from which on it is to be done


class Housekeeping:
    """What one cluster does of it."""

    def __init__(self) -> None:
        self._identity = WorkerIdentity.current()
        self._next_look = monotonic() + LOOK_SECONDS
        self._last_hold = 0.0
        self._night: date | None = None
        self._work: Iterator[None] = iter(())

    def step(self) -> None:
        """Do what there is to do, for a moment."""
        deadline = monotonic() + STEP_SECONDS
        while monotonic() < deadline:
            if not (services.hand_over_part() or self._go_on_with_night()):
                return

    def _go_on_with_night(self) -> bool:
        """Do one small part of a night's upkeep; return whether there may be more."""
        if self._night is None:
            return self._begin_when_due()
        night = self._night
        # Begun anew at the next look if the database fails here: all of it can be done twice.
        self._night = None
        if monotonic() - self._last_hold > HOLD_SECONDS:
            self._last_hold = monotonic()
            if not services.hold_night(night=night, worker=self._identity):
                logger.warning("another cluster goes on with the upkeep of %s", night)
                return False
        if next(self._work, self) is self:
            services.end_night(night=night, worker=self._identity)
            return False
        self._night = night
        return True

    def _begin_when_due(self) -> bool:
        if monotonic() < self._next_look:
            return False
        self._next_look = monotonic() + LOOK_SECONDS
        now = timezone.localtime()
        if now.hour < HOUR:
            return False
        try:
            section = registry.configuration().site.retention
        except ConfigError:
            return False  # a wrong file is told of by the registry; nothing goes by a guess
        night = now.date()
        if not services.begin_night(night=night, worker=self._identity):
            return False
        self._night, self._work = night, upkeep(section)
        self._last_hold = monotonic()
        return True


def upkeep(section: Retention) -> Iterator[None]:
    """Do a night's upkeep, a small part at each step, and log what went."""
    logger.info("the nightly upkeep begins")
    gone: Counter[str] = Counter()
    for count in retention.log_steps(retention.rules_of(section)):
        gone["log messages"] += count
        yield
    for pruned in retention.build_steps(section):
        gone["builds"] += pruned.removed
        gone["builds after their cleanup"] += pruned.to_clean_up
        yield
    while count := services.forget_old():
        gone["old nonces and other records"] += count
        yield
    gone["dead clusters"] += services.forget_dead_clusters()
    yield
    call_command("clearsessions")
    parts = ", ".join(f"{count:,} {name}" for name, count in gone.items() if count)
    logger.info("the nightly upkeep is done; removed: %s", parts or "nothing")
