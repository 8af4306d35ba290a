"""Wake-ups: the only module that talks to django-q2.

A message says nothing but "there may be work". It may be lost, doubled or late: what runs, and
how often, is decided by `builds.services.claim` alone.
"""

from __future__ import annotations

import logging
import os
from time import sleep
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django_q.brokers import Broker, get_broker, redis_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

WORK = "builds.tasks.work"
_RETRY_SECONDS = 1.0


class DatabaseBroker(ORM):
    """django-q2's database broker, for messages that need not survive.

    A message is deleted when it is taken. The original hides it for `retry` seconds and deletes
    it after the task, which costs a statement more and leaves rows behind when a worker dies.
    """

    _is_away = False

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:  # noqa: ARG004 - django-q2's signature
        """Return the messages; the connection is kept open between calls."""
        return OrmQ.objects.using(Conf.ORM)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Take a message, or wait a moment and return None."""
        try:
            taken = self._take()
        except (DatabaseError, InterfaceError) as error:
            if not self._is_away:
                logger.warning("no wake-ups: the database does not answer (%s)", _one_line(error))
            self._is_away = True
            connections[str(Conf.ORM)].close()
            sleep(_RETRY_SECONDS)
            return None
        if self._is_away:
            logger.warning("wake-ups again: the database answers")
            self._is_away = False
        if not taken:
            sleep(Conf.POLL)
        return taken

    def delete(self, task_id: int | None) -> None:
        """Do nothing: the message was deleted when it was taken."""

    def _take(self) -> list[tuple[int, str]]:
        waiting = list(
            self.get_connection()
            .filter(key=self.list_key)
            .order_by("id")
            .values_list("pk", "payload")[: Conf.BULK]
        )
        # Of several clusters that saw the same message, the one that deletes it has it.
        return [
            (pk, payload)
            for pk, payload in waiting
            if self.get_connection().filter(pk=pk).delete()[0]
        ]


class RedisBroker(redis_broker.Redis):  # type: ignore[name-defined, misc]
    """django-q2's Redis broker, for a Redis that may be away: workers are woken without it too."""

    _is_away = False

    def dequeue(self) -> list[tuple[None, bytes]] | None:
        """Take a message, or wait a second and return None."""
        try:
            taken: list[tuple[None, bytes]] | None = super().dequeue()
        except RedisError as error:
            if not self._is_away:
                logger.warning("Redis does not answer (%s); builds start a little later", error)
            self._is_away = True
            sleep(_RETRY_SECONDS)
            return None
        if self._is_away:
            logger.warning("Redis answers again")
            self._is_away = False
        return taken

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Keep no statistics: our clusters say in the database that they live."""


class _Kept:
    """This process's broker: django-q2 would open a new connection per message."""

    broker: Broker | None = None
    pid = 0


def _broker() -> Broker:
    if _Kept.broker is None or _Kept.pid != os.getpid():
        _Kept.broker, _Kept.pid = get_broker(), os.getpid()
    return _Kept.broker


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def wake(times: int = 1) -> bool:
    """Send wake-ups; return whether the broker took them.

    A broker that is down loses nothing: the build stays QUEUED and the supervisor wakes again.
    """
    try:
        for _ in range(times):
            async_task(WORK, broker=_broker(), save=False, task_name="wake-up")
    except Exception as error:  # noqa: BLE001 - any broker library, any error of its own
        logger.warning("the broker took no wake-up (%s); the supervisor will send it", error)
        _Kept.broker = None
        return False
    return True


def broker_answers() -> bool:
    """Whether the broker can be reached."""
    try:
        return bool(_broker().ping())
    except Exception:  # noqa: BLE001 - as above; the supervisor says so
        _Kept.broker = None
        return False
