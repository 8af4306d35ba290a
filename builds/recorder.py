"""The one background thread that writes what the builds of this process report.

It has a database connection of its own, so that nothing a job does to its connection (closing it,
a broken transaction, a lock) reaches the record, and nothing here slows the job.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from builds import flags, interrupts, services, tracebacks, workers
from builds.excerpts import LogExcerpt
from builds.logs import LogEntry
from builds.progress import Node
from builds.sessions import BuildSession, Cause
from jobs.policies import spoken

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.25
# While a job is to be interrupted and the signal has not met code of its own yet.
INSIST_SECONDS = 0.02
LOOK_SECONDS = 1.0  # between two looks whether a build was cancelled or taken away
CHUNK = 1_000  # log records per insert
# Of records that the database refuses; then they are dropped, with a marker. While it is away they
# wait, as many as the buffer takes.
MAX_FAILED_WRITES = 20
REST_SECONDS = 1.0  # between two tries while the database is away

T = TypeVar("T")


class Recorder:
    """Flushes buffers, keeps leases alive and runs calls on its own connection."""

    def __init__(self) -> None:
        self._sessions: list[BuildSession] = []
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._wake = threading.Event()
        self._rests = False  # and is to be woken for a session
        self._thread: threading.Thread | None = None
        self._last_beat = 0.0
        self._last_look = 0.0
        self._failed_writes = 0
        self._is_away = False
        self._rest_until = float("-inf")
        self._stopping = False

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the recorder's thread and return what it returned or raised."""
        if threading.current_thread() is self._thread:
            return function()
        future: Future[T] = Future()
        self._calls.put((future, function))
        self._ensure_running()
        self._wake.set()
        return future.result()

    def open(self, session: BuildSession) -> None:
        """Begin to write what the session's buffers hold."""
        session.logs.wake = self._wake.set
        if not self._sessions:  # else those around it would have no heartbeat
            self._last_beat = self._last_look = monotonic()
        self._sessions.append(session)
        self._ensure_running()
        if self._rests:
            self._wake.set()

    def close(self, session: BuildSession) -> None:
        """Stop writing for the session; when this returns, nothing of it is being written."""
        if session in self._sessions:
            self.call(lambda: self.forget(session))

    def forget(self, session: BuildSession) -> None:
        """Stop writing for the session (on the recorder's thread)."""
        session.logs.wake = None
        if session in self._sessions:
            self._sessions.remove(session)

    def flush(self, session: BuildSession) -> None:
        """Write all that the session's buffers hold, a chunk at a time."""
        while len(session.logs) > CHUNK and not session.lost:
            if not self._flush(session):
                return

    def drain(self, session: BuildSession) -> None:
        """Take all that is left of a cleanup's log."""
        while len(session.logs):
            self._flush(session)
        self._flush(session)  # once more, for a word on what was dropped

    def write_marker(self, session: BuildSession) -> None:
        """Write, if that is possible at all, that records were dropped."""
        session.progress.take()
        self._write(session, session.logs.take_rest(), [])

    def reconnect(self) -> None:
        """Drop the connection, so that the next use makes a new one (on the recorder's thread)."""
        connection.close()

    def stop(self) -> None:
        """End the thread and its connection; a later use starts them again."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return

        def end() -> None:
            connections.close_all()
            self._stopping = True

        self.call(end)
        thread.join()

    def _ensure_running(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        connection_created.connect(self._bound_waiting)
        while not self._stopping:
            self._sleep()
            self._run_calls()
            self._look_when_due()
            self._beat_when_due()
            for session in list(self._sessions):
                self._interrupt_when_due(session)
                if monotonic() >= self._rest_until and _has_begun(session):
                    self._flush(session)

    def _sleep(self) -> None:
        """Sleep until there is something to do, or to look at; without end only after a while.

        A worker opens one session after the other, and need not wake this thread for each.
        """
        if any(interrupts.is_due(session) for session in self._sessions):
            self._wake.wait(INSIST_SECONDS)
        elif not self._wake.wait(FLUSH_SECONDS) and not self._sessions:
            self._rests = True
            # Again: one that was opened just before did not wake us.
            self._wake.wait(FLUSH_SECONDS if self._sessions else None)
            self._rests = False
        self._wake.clear()

    def _run_calls(self) -> None:
        while True:
            try:
                future, function = self._calls.get_nowait()
            except Empty:
                return
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                future.set_exception(error)

    def _look_when_due(self) -> None:
        """See whether a build was cancelled, or taken from this process."""
        if not self._sessions or monotonic() - self._last_look < LOOK_SECONDS:
            return
        self._last_look = monotonic()
        for session in list(self._sessions):
            if session.deletion_id is None and not session.lost:
                self._trying(_look, session)

    def _beat_when_due(self) -> None:
        if not self._sessions or monotonic() - self._last_beat < settings.HEARTBEAT_SECONDS:
            return
        self._last_beat = monotonic()
        for session in list(self._sessions):
            if not session.lost and self._trying(_beat, session):
                self._database_answers()

    def _trying(self, function: Callable[[BuildSession], None], session: BuildSession) -> bool:
        try:
            function(session)
        except (DatabaseError, InterfaceError) as error:
            self._database_fails(session, error)
            return False
        # That it can be read says nothing of writing: `_database_answers` is for those who wrote.
        return True

    def _interrupt_when_due(self, session: BuildSession) -> None:
        ran = monotonic() - session.opened
        if session.lost_at is not None:
            interrupts.interrupt(session, Cause.LEASE_LOST, "the build was taken from its worker.")
            if monotonic() - session.lost_at > settings.GRACE_SECONDS:
                _end_process(session)
        elif flags.interrupting.is_set():
            interrupts.interrupt(session, Cause.SHUTDOWN, "its worker was stopped.")
        elif session.timeout is not None and ran > session.timeout:
            self._time_out(session, session.timeout)
        interrupts.send_again(session)

    def _time_out(self, session: BuildSession, timeout: float) -> None:
        if session.interruption is not None:
            return
        text = f"it ran for more than {spoken(timeout)}."
        # Kept before the function is asked to end: one that does not hear of it is killed later.
        stack = tracebacks.of_main_thread(session.redactor, text)
        self._trying(partial(services.note_hang, traceback=stack), session)
        interrupts.interrupt(session, Cause.TIMEOUT, text)

    def _flush(self, session: BuildSession) -> bool:
        """Write one chunk of the session's records; return whether that worked."""
        if session.excerpt is not None:
            return self._keep(session, session.excerpt)
        return self._write(session, session.logs.take(CHUNK), session.progress.take())

    def _write(self, session: BuildSession, entries: list[LogEntry], nodes: list[Node]) -> bool:
        if session.lost or not (entries or nodes):
            return True
        try:
            services.observations.store_observations(session=session, entries=entries, nodes=nodes)
        except (DatabaseError, InterfaceError) as error:
            session.progress.give_back(nodes)
            self._write_failed(session, entries, error)
            return False
        except Exception:
            # A record that can't be made into a row: without this thread there is no heartbeat.
            logger.exception("%s records of build #%s are dropped", len(entries), session.build_id)
            session.logs.count_dropped(len(entries))
            return False
        session.logs.healthy = True
        self._failed_writes = 0
        self._database_answers()
        if len(session.logs):
            self._wake.set()
        return True

    def _keep(self, session: BuildSession, excerpt: LogExcerpt) -> bool:
        """Take one chunk of a cleanup's log, which is stored with its deletion, at the end.

        It is taken all the time: a cleanup whose buffer is full would wait for room.
        """
        entries = session.logs.take(CHUNK)
        try:
            excerpt.add(entries)
        except Exception:
            # As in `_flush`: without this thread there is no heartbeat.
            logger.exception("%s records of a cleanup are dropped", len(entries))
            session.logs.count_dropped(len(entries))
            return False
        if len(session.logs):
            self._wake.set()
        return True

    def _write_failed(
        self, session: BuildSession, entries: list[LogEntry], error: Exception
    ) -> None:
        session.logs.healthy = False
        session.logs.give_back(entries)
        self._database_fails(session, error)
        if isinstance(error, OperationalError | InterfaceError):
            return
        self._failed_writes += 1
        if self._failed_writes >= MAX_FAILED_WRITES:
            session.logs.drop_all()
            self._failed_writes = 0

    def _database_fails(self, session: BuildSession, error: Exception) -> None:
        connection.close()
        self._rest_until = monotonic() + REST_SECONDS
        if not self._is_away:
            text = "the database does not take the records and heartbeats of build #%s: %s"
            logger.warning(text, session.build_id, error)
        self._is_away = True

    def _database_answers(self) -> None:
        if self._is_away:
            logger.warning("the database takes records and heartbeats again")
        self._is_away = False

    def _bound_waiting(self, connection: BaseDatabaseWrapper, **_kwargs: Any) -> None:
        """Let no lock that a job holds stop the heartbeat for long (SQLite has a limit anyway)."""
        if threading.current_thread() is self._thread and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")


def _has_begun(session: BuildSession) -> bool:
    """Whether the session is open for a while, or has much to write already.

    Not before: a short build is written with its outcome, in one transaction. And on SQLite nobody
    could write, or cancel the build, if its function began with a call that holds the interpreter
    while this thread was in a transaction.
    """
    return monotonic() - session.opened >= FLUSH_SECONDS or len(session.logs) > CHUNK


def _beat(session: BuildSession) -> None:
    if session.deletion_id is not None:
        held = services.beat_deletion(deletion_id=session.deletion_id, token=session.token)
    else:
        held = services.beat(build_id=session.build_id, token=session.token)
    if not held:
        session.lost_at = monotonic()


def _look(session: BuildSession) -> None:
    seen = services.look(build_id=session.build_id, token=session.token)
    if not seen.held:
        session.lost_at = monotonic()
    elif seen.cancelled:
        interrupts.interrupt(session, Cause.CANCEL, "it was cancelled.")


def _end_process(session: BuildSession) -> None:
    """End this process, which goes on with a build that is not its own any more."""
    logger.error("build #%s was taken away and does not stop: ending", session.build_id)
    workers.kill_children()
    os._exit(1)


class _Current:
    recorder: Recorder | None = None
    pid = 0


def recorder() -> Recorder:
    """Return this process's recorder; a forked child gets one of its own."""
    if _Current.recorder is None or _Current.pid != os.getpid():
        _Current.recorder, _Current.pid = Recorder(), os.getpid()
    return _Current.recorder
