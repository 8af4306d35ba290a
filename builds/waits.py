"""How a cluster waits for the next message in the database without asking for it all the time.

On PostgreSQL it is told (LISTEN), on SQLite it looks at a number that any write of others changes.
Either way it looks for messages about once a second anyhow, so that nothing hangs on being told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic, sleep
from typing import Protocol

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from builds import flags

logger = logging.getLogger(__name__)

CHANNEL = "jobcontrol_wake"
WAIT_SECONDS = 1.0  # until one looks for messages though nothing was heard
LOOK_SECONDS = 0.02  # between two looks at SQLite's number
_STOP_SECONDS = 0.2  # between two looks whether the cluster stops
# Whoever heard nothing for so many heartbeats, of which each cluster tells, hears nothing at all.
_DEAF_BEATS = 3

NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"


class Wait(Protocol):
    """A way of waiting for messages."""

    def begin(self, connection: BaseDatabaseWrapper) -> None:
        """Get ready, before one looks for messages: what comes after that look is not missed."""

    def wait(self, connection: BaseDatabaseWrapper, keys: Iterable[str], poll: float) -> None:
        """Wait until there may be a message under one of these keys, or it is time to look.

        `poll` is how long one waits who isn't told of messages.
        """

    def overhear(self, connection: BaseDatabaseWrapper) -> None:
        """Take no notice of what was told while nobody waited."""


def for_database(connection: BaseDatabaseWrapper) -> Wait:
    """Return the way of waiting of this database."""
    return Listening() if connection.vendor == "postgresql" else Watching()


class Listening:
    """LISTEN, on the very connection that messages are taken with.

    A pool such as pgbouncer takes the LISTEN and passes nothing on. So only who has heard something
    lately waits for long; the others go on polling.
    """

    def __init__(self) -> None:
        self._raw: object = None  # the connection that listens
        self._last = monotonic()  # when something was heard, or the listening began
        self._has_heard = False
        self._is_told_deaf = False

    def begin(self, connection: BaseDatabaseWrapper) -> None:
        """Listen, if this connection doesn't yet."""
        connection.ensure_connection()
        if connection.connection is self._raw:
            return
        self._has_heard, self._last = False, monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
        except (OperationalError, InterfaceError):
            raise  # the database is away
        except DatabaseError as error:
            self._tell_deaf(" ".join(str(error).split()))
        self._raw = connection.connection

    def wait(self, connection: BaseDatabaseWrapper, keys: Iterable[str], poll: float) -> None:
        """Wait for a notification."""
        now = monotonic()
        is_deaf = now - self._last > _DEAF_BEATS * settings.HEARTBEAT_SECONDS
        if is_deaf:
            self._tell_deaf("no notification comes through")
        deadline = now + (WAIT_SECONDS if self._has_heard and not is_deaf else poll)
        wanted = set(keys)
        while not flags.stopping.is_set() and (left := deadline - monotonic()) > 0:
            heard = self._hear(connection, min(left, _STOP_SECONDS))
            if not wanted.isdisjoint(heard):
                return

    def overhear(self, connection: BaseDatabaseWrapper) -> None:
        """Read what was told, which the server would have to keep."""
        if self._raw is not None and connection.connection is self._raw:
            self._hear(connection, 0)

    def _hear(self, connection: BaseDatabaseWrapper, seconds: float) -> list[str]:
        """Return the keys of the notifications that come within so many seconds, if any do."""
        with connection.wrap_database_errors:
            told = connection.connection.notifies(timeout=seconds, stop_after=1)
            return self._note([one.payload for one in told])

    def _note(self, heard: list[str]) -> list[str]:
        if heard:
            self._last, self._has_heard = monotonic(), True
            if self._is_told_deaf:
                logger.info("wake-ups are told by the database")
                self._is_told_deaf = False
        return heard

    def _tell_deaf(self, why: str) -> None:
        if not self._is_told_deaf:
            logger.info("wake-ups are polled for: the database does not tell of them (%s)", why)
            self._is_told_deaf = True


class Watching:
    """SQLite's `data_version`, which a write of anybody else changes.

    To read it costs a fiftieth of a query, so that it can be looked at often.
    """

    def __init__(self) -> None:
        self._version = 0

    def begin(self, connection: BaseDatabaseWrapper) -> None:
        """Remember the number."""
        connection.ensure_connection()
        self._version = self._read(connection)

    def wait(self, connection: BaseDatabaseWrapper, keys: Iterable[str], poll: float) -> None:  # noqa: ARG002 - SQLite tells nothing of keys, and looks more often than anybody polls
        """Wait until the number is another one."""
        deadline = monotonic() + WAIT_SECONDS
        while not flags.stopping.is_set() and monotonic() < deadline:
            sleep(LOOK_SECONDS)
            if self._read(connection) != self._version:
                return

    def overhear(self, connection: BaseDatabaseWrapper) -> None:
        """Do nothing: nothing was told."""

    def _read(self, connection: BaseDatabaseWrapper) -> int:
        with connection.wrap_database_errors:
            (version,) = connection.connection.execute("PRAGMA data_version").fetchone()
        return int(version)
