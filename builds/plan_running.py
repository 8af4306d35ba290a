"""Running a plan in this process: its builds in order, one after the other.

All that touches the database does so on the recorder's connection, as running a build does: a
transaction of the code around it can neither hide the plan nor wait for it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from builds import interrupts, services, sessions
from builds.models import Build
from builds.plan_models import Plan
from builds.recorder import recorder
from builds.runner import run_here
from builds.sessions import Cause
from jobcontrol.exceptions import BuildStateError, LimitReached

POLL_SECONDS = 0.5
STOP_SECONDS = 0.1  # between two looks whether a signal came

Status = Build.Status


def run_plan(
    plan: Plan,
    *,
    stop: threading.Event | None = None,
    say: Callable[[str], object] | None = None,
) -> None:
    """Run the builds of a plan that was made for this process, until none is left.

    Those that hang on a build that failed fail with it, the others go on. Where the limit of a job
    is reached other builds come first; when there are none, `say` is told, once, what is waited
    for, and without it LimitReached is raised. When `stop` is set, or when something ends this
    function, what was not begun is cancelled.
    """
    call = recorder().call
    stop = stop or threading.Event()
    full: dict[int, LimitReached] = {}  # builds that have to wait, since the last pause
    said: set[int] = set()
    try:
        while not stop.is_set():
            build = call(partial(_next, plan, list(full)))
            if build is not None:
                reached = _run(build)
                if reached is not None:
                    full[build.pk] = reached
                continue
            if call(partial(_is_over, plan)):
                return
            for number, reached in full.items():
                if say is None:
                    raise reached
                if number not in said:
                    say(f"{reached} Build #{number} waits here for its turn (Ctrl-C ends that).")
                    said.add(number)
            full.clear()
            # For that, or for one of them that somebody else runs or deletes just now.
            stop.wait(POLL_SECONDS)
    finally:
        why = "the process that ran it was stopped."
        call(partial(services.cancel_plan, plan=plan, why=why))


def _next(plan: Plan, but: Collection[int]) -> Build | None:
    """Return the next build that can be run, `but` for these; None when there is none now."""
    ready = Build.objects.filter(plan=plan, status=Status.CREATED, deleting=False)
    first = ready.exclude(pk__in=but).select_related("job").order_by("pk")
    found = first.first()
    if found is None:
        # What the end of a build should have let go on, if that failed.
        services.settle_plan(plan=plan)
        found = first.first()
    return found


def _is_over(plan: Plan) -> bool:
    return not Build.objects.filter(plan=plan, status__in=Build.UNFINISHED).exists()


def _run(build: Build) -> LimitReached | None:
    """Run a build; return the limit that keeps it from being run now."""
    try:
        run_here(build)
    except LimitReached as reached:
        return reached
    except BuildStateError:
        # Somebody else cancelled or ran it meanwhile: it is looked at again.
        return None
    return None


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set; the build that runs then is cancelled.

    The function of that build gets BuildInterrupted, as from any cancel. A second signal ends
    whatever runs, like Ctrl-C does elsewhere. For the main thread.
    """
    stop, over = threading.Event(), threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    # A thread: the signal may come before the build has begun, or while no exception may be raised.
    watcher = threading.Thread(target=_cancel_when, args=(stop, over), daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        watcher.join()


def _cancel_when(stop: threading.Event, over: threading.Event) -> None:
    while not over.wait(STOP_SECONDS):
        if stop.is_set():
            for session in sessions.every()[:1]:
                interrupts.interrupt(session, Cause.CANCEL, "it was stopped by a signal.")
