"""Wake-ups: the only module, with that of the Redis broker, that talks to django-q2.

A message says nothing but "there may be work" in its queue. It may be lost, doubled or late: what
runs, and how often, is decided by `builds.services.claim` alone.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from time import sleep
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django_q.brokers import Broker, get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from builds import waits
from jobs.policies import DEFAULT_QUEUE

logger = logging.getLogger(__name__)

WORK = "builds.tasks.work"
MAX_KEY = 100  # characters of a message's key in the database
RETRY_SECONDS = 1.0


class _Served:
    """The queues of this process's cluster; its children inherit them."""

    names: tuple[str, ...] = (DEFAULT_QUEUE,)


def serve(names: Iterable[str]) -> None:
    """Have this process, and those that it starts from now on, work for these queues only."""
    _Served.names = tuple(dict.fromkeys(names))


def served() -> tuple[str, ...]:
    """Return the queues that this process works for, the first one first."""
    return _Served.names


def key(name: str) -> str:
    """Return under which key the wake-ups of a queue are sent.

    Names that begin alike may share one: each is woken for the other, which is only a hint.
    """
    base = str(Conf.CLUSTER_NAME)
    return base if name == DEFAULT_QUEUE else f"{base}:{name}"[:MAX_KEY]


class DatabaseBroker(ORM):
    """django-q2's database broker, for messages that need not survive.

    A message is deleted when it is taken. The original hides it for `retry` seconds and deletes
    it after the task, which costs a statement more and leaves rows behind when a worker dies.
    """

    _is_away = False
    _wait: waits.Wait | None = None  # of the process that takes messages

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:  # noqa: ARG004 - django-q2's signature
        """Return the messages; the connection is kept open between calls."""
        return OrmQ.objects.using(Conf.ORM)

    def enqueue(self, task: str) -> int:
        """Store a message; on PostgreSQL the clusters are told of it in the same statement."""
        if _connection().vendor != "postgresql":
            return int(super().enqueue(task))  # type: ignore[no-untyped-call]
        with _connection().cursor() as cursor:
            cursor.execute(_STORE_AND_TELL, [self.list_key, task, self.list_key])
            return int(cursor.fetchone()[0])

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Take a message, or wait until there may be one and return None."""
        try:
            if self._wait is None:
                self._wait = waits.for_database(_connection())
            self._wait.begin(_connection())
            taken = self._take()
            if self._is_away:
                logger.warning("wake-ups again: the database answers")
                self._is_away = False
            if not taken:
                keys = [key(name) for name in served()]
                self._wait.wait(_connection(), keys, Conf.POLL)
        except (DatabaseError, InterfaceError) as error:
            if not self._is_away:
                logger.warning("no wake-ups: the database does not answer (%s)", _one_line(error))
            self._is_away = True
            _connection().close()
            sleep(RETRY_SECONDS)
            return None
        return taken

    def overhear(self) -> None:
        """Take no notice of messages that were sent while this cluster had no room for one."""
        if self._wait is not None:
            with suppress(DatabaseError, InterfaceError):  # whoever looks for the next one says so
                self._wait.overhear(_connection())

    def delete(self, task_id: int | None) -> None:
        """Do nothing: the message was deleted when it was taken."""

    def ping(self) -> bool:
        """Let the clusters on PostgreSQL hear something; that it does not answer, others say."""
        if _connection().vendor == "postgresql":
            with suppress(DatabaseError, InterfaceError), _connection().cursor() as cursor:
                cursor.execute(waits.NOTIFY, [""])
        return True

    def _take(self) -> list[tuple[int, str]]:
        keys = [key(name) for name in served()]
        if _connection().vendor == "postgresql":
            with _connection().cursor() as cursor:
                cursor.execute(_TAKE, [keys, Conf.BULK])
                return sorted(cursor.fetchall())
        messages = self.get_connection().filter(key__in=keys)
        while waiting := list(messages.order_by("id").values_list("pk", "payload")[: Conf.BULK]):
            # Of several clusters that saw the same message, the one that deletes it has it. The
            # others look again: of the one behind it they were told already.
            taken = [
                (pk, payload)
                for pk, payload in waiting
                if self.get_connection().filter(pk=pk).delete()[0]
            ]
            if taken:
                return taken
        return []


# One wait for the server. Those that another cluster is taking are passed over.
_TAKE = (
    f'DELETE FROM "{OrmQ._meta.db_table}" WHERE id IN (SELECT id FROM "{OrmQ._meta.db_table}"'  # noqa: S608
    " WHERE key = ANY(%s) ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id, payload"
)

_STORE_AND_TELL = (
    f'WITH made AS (INSERT INTO "{OrmQ._meta.db_table}" (key, payload, lock)'  # noqa: S608 - no value
    f" VALUES (%s, %s, now()) RETURNING id) SELECT id, pg_notify('{waits.CHANNEL}', %s) FROM made"
)


def _connection() -> BaseDatabaseWrapper:
    connection: BaseDatabaseWrapper = connections[str(Conf.ORM)]
    return connection


class _Kept:
    """This process's brokers by queue: django-q2 would open a new connection per message."""

    brokers: dict[str, Broker] = {}
    pid = 0


def _broker(name: str = DEFAULT_QUEUE) -> Broker:
    if _Kept.pid != os.getpid():
        _Kept.brokers, _Kept.pid = {}, os.getpid()
    if name not in _Kept.brokers:
        _Kept.brokers[name] = get_broker(key(name))
    return _Kept.brokers[name]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def wake(times: int = 1, queue: str = DEFAULT_QUEUE) -> bool:
    """Send wake-ups to the workers of a queue; return whether the broker took them.

    A broker that is down loses nothing: the build stays QUEUED and the supervisor wakes again.
    """
    try:
        for _ in range(times):
            async_task(WORK, broker=_broker(queue), save=False, task_name="wake-up")
    except Exception as error:  # noqa: BLE001 - any broker library, any error of its own
        logger.warning("the broker took no wake-up (%s); the supervisor will send it", error)
        _Kept.brokers.clear()
        return False
    return True


def wake_each(names: Iterable[str]) -> None:
    """Send a wake-up for each build, given by its queue; no more than a cluster has workers."""
    for name, count in Counter(names).items():
        wake(times=min(count, settings.WORKERS), queue=name)


def broker_answers() -> bool:
    """Whether the broker can be reached."""
    try:
        return bool(_broker().ping())
    except Exception:  # noqa: BLE001 - as above; the supervisor says so
        _Kept.brokers.clear()
        return False
