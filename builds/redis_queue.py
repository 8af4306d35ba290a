"""The Redis broker, apart from `builds.queue`: who has no Redis need not import its library.

It is large, and every command and every worker would pay for it at its start.
"""

from __future__ import annotations

import logging
from time import sleep

from django_q.brokers import redis_broker
from redis.exceptions import RedisError

from builds import queue

logger = logging.getLogger(__name__)


def redis_key(key: str) -> str:
    """Return the name of the list in Redis, as django-q2 makes it."""
    return f"django_q:{key}:q"


class RedisBroker(redis_broker.Redis):  # type: ignore[name-defined, misc]
    """django-q2's Redis broker, for a Redis that may be away: workers are woken without it too."""

    _is_away = False

    def dequeue(self) -> list[tuple[None, bytes]] | None:
        """Take a message, or wait a second and return None."""
        keys = [redis_key(queue.key(name)) for name in queue.served()]
        try:
            found = self.connection.blpop(keys, 1)
        except RedisError as error:
            if not self._is_away:
                logger.warning("Redis does not answer (%s); builds start a little later", error)
            self._is_away = True
            sleep(queue.RETRY_SECONDS)
            return None
        if self._is_away:
            logger.warning("Redis answers again")
            self._is_away = False
        return [(None, found[1])] if found else None

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Keep no statistics: our clusters say in the database that they live."""
