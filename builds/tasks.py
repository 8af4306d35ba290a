"""What a wake-up does in a worker."""

from __future__ import annotations

from time import monotonic

from builds import deletion, runner

# A woken worker goes on claiming for a while: builds that wait need no message of their own each.
SLICE_SECONDS = 1.0


def work() -> None:
    """Run eligible builds and deletions one after another, for about a second of claiming."""
    deadline = monotonic() + SLICE_SECONDS
    while runner.run_next() is not None and monotonic() < deadline:
        pass
    while deletion.run_next() is not None and monotonic() < deadline:
        pass
