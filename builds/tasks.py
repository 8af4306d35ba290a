"""What a wake-up does in a worker."""

from __future__ import annotations

import logging
from time import monotonic

from django.db import DatabaseError, InterfaceError

from builds import deletion, runner
from builds.recorder import recorder

logger = logging.getLogger(__name__)

# A woken worker goes on claiming for a while: builds that wait need no message of their own each.
SLICE_SECONDS = 1.0


def work() -> None:
    """Run eligible builds and deletions one after another, for about a second of claiming."""
    deadline = monotonic() + SLICE_SECONDS
    try:
        runner.run_all(until=deadline)
        while deletion.run_next() is not None and monotonic() < deadline:
            pass
    except (DatabaseError, InterfaceError) as error:
        # The supervisor wakes again; what was running was closed by `runner` itself.
        logger.warning("the database does not answer (%s); the build waits", error)
        recorder().call(recorder().reconnect)
        runner.settle_claims()
