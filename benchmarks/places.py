"""Where things are measured: on SQLite, on a PostgreSQL from its wheel, and with a Redis beside it.

The PostgreSQL is durable, as it comes: both sides pay for each commit that they make. In the Redis
a database that is empty is taken, with a key that tells other runs so, and emptied again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import common  # noqa: F401 - it finds the packages of the checkout
import redis as redis_library
from measuring import Asked

from tests.support.databases import new_database, sqlite_url
from tests.support.servers import postgres

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "redis": "PostgreSQL + Redis"}
_REDIS_DATABASES = range(15, 0, -1)
_TAKEN = "taken by a benchmark of JobControl"
_TAKEN_SECONDS = 24 * 3600  # if nobody empties it any more


@dataclass(frozen=True)
class Place:
    """A kind of database, with new ones to be had, and the URL of a Redis if one is used.

    `spare_redis` is one that a peer may use which cannot do without.
    """

    kind: str
    stack: ExitStack
    folder: Path
    spare_redis: str
    numbers: Iterator[int]

    @property
    def name(self) -> str:
        """Its name for people."""
        return NAMES[self.kind]

    @property
    def redis(self) -> str:
        """The Redis that our site and django-q2 send their messages through; "" for none."""
        return self.spare_redis if self.kind == "redis" else ""

    def new_folder(self) -> Path:
        """Make a folder."""
        folder = self.folder / f"site-{next(self.numbers)}"
        folder.mkdir()
        return folder

    def new_database(self, folder: Path) -> str:
        """Make an empty database and return its URL."""
        if self.kind == "sqlite":
            return sqlite_url(folder / "database.sqlite3")
        return self.stack.enter_context(new_database())


@contextmanager
def places(asked: Asked) -> Iterator[list[Place]]:
    """Have the places that were asked for and can be had here."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jc-bench-")))
        spare = stack.enter_context(_redis(asked.redis))
        if {"postgres", "redis"} & set(asked.places):
            server = stack.enter_context(postgres(durable=True))
            os.environ["TEST_DATABASE_URL"] = server.url
        kinds = [kind for kind in asked.places if kind != "redis" or spare]
        if len(kinds) < len(asked.places):
            print("No Redis answers: what needs one is left out.", flush=True)
        numbers = count(1)
        yield [Place(kind, stack, folder, spare, numbers) for kind in kinds]


@contextmanager
def _redis(url: str) -> Iterator[str]:
    """Have an empty database of the Redis at `url`; "" where none answers or none is empty."""
    for number in _REDIS_DATABASES:
        address = f"{url.rstrip('/')}/{number}"
        client = redis_library.Redis.from_url(address, socket_connect_timeout=2)
        try:
            if client.dbsize() or not client.set(_TAKEN, 1, nx=True, ex=_TAKEN_SECONDS):
                continue
        except redis_library.RedisError:
            break
        try:
            yield address
        finally:
            client.flushdb()
            client.close()
        return
    yield ""
