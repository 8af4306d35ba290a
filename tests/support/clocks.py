"""A clock of the database that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import models

from builds import database_time
from builds.schedules import Schedules


class Clock:
    """The time that schedules see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
        monkeypatch.setattr(database_time, "present", self._present)

    def _present(self) -> models.Expression:
        return models.Value(self.now, output_field=models.DateTimeField())

    minute = timedelta(minutes=1)

    def set(self, text: str, zone: str = "UTC") -> None:
        """Set it to a local time; with an offset in the text, to that moment."""
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        self.now = moment.astimezone(UTC)

    def run(self, until: str, zone: str = "UTC", *, step: float = 30.0) -> None:
        """Go on until that time, with a tick of one supervisor every `step` seconds."""
        supervisor = Schedules()
        start = self.now
        self.set(until, zone)
        end, self.now = self.now, start
        while self.now <= end:
            supervisor.step()
            self.now += timedelta(seconds=step)
        self.now = end


def tick(times: int = 1) -> None:
    """Let a supervisor that has just started look at the schedules."""
    for _ in range(times):
        Schedules().step()
