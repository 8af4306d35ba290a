"""Waiting here for what a worker would wait for in its queue: the turn of a build."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import sleep

from builds import runner, services
from builds.models import Build
from jobcontrol.exceptions import BuildStateError, LimitReached

LOOK_SECONDS = 0.5


def run_in_turn(build: Build, *, say: Callable[[str], object], arm: bool = False) -> Build:
    """Run one build here as soon as the limit of its job allows it, and return it as it ended.

    `say` is told, once, what it waits for. A wait that is interrupted cancels the build. Raises
    BuildStateError as `runner.run_here`.
    """
    has_said = False
    while True:
        try:
            return runner.run_here(build, arm=arm)
        except LimitReached as reached:
            if not has_said:
                say(f"{reached} Build #{build.pk} waits here for its turn (Ctrl-C ends that).")
            has_said = True
        try:
            sleep(LOOK_SECONDS)
        except BaseException:
            with suppress(BuildStateError):  # somebody was faster
                services.cancel_build(build=build)
            raise
