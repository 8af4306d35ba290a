"""Jobs that look at their own record while they run, or are watched doing so."""

from __future__ import annotations

import logging
import time

from builds import sessions
from builds.models import Build, LogMessage
from jobcontrol.globals import current_app, current_build

logger = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds; only ends a test that would hang


def until(condition):
    """Wait until `condition()` is true; return whether it became so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def wait_for_a_heartbeat():
    def beaten():
        build = Build.objects.get(pk=current_build.id)
        return build.heartbeat > build.start_time

    return until(beaten)


def run_others_until_a_heartbeat(other):
    def beaten():
        current_app.build_job(other)
        build = Build.objects.get(pk=current_build.id)
        return build.heartbeat > build.start_time

    return until(beaten)


def wait_for_own_records():
    logger.info("written while I run")
    current_app.report_progress(("part",), 1, 2)
    rows = LogMessage.objects.filter(build_id=current_build.id, message="written while I run")
    return until(rows.exists) and until(Build.objects.get(pk=current_build.id).progress.exists)


def lose_the_lease(token):
    """Be taken for dead, notice it, and go on logging."""
    session = sessions.current()
    Build.objects.filter(pk=session.build_id).update(claim_token=token)
    noticed = until(lambda: session.lost)
    logger.info("after the lease was lost")
    current_app.report_progress(("after",), 1, 2)
    session.logs.wake()
    until(lambda: not len(session.logs))
    return noticed


class Unpicklable(Exception):
    """Can't be pickled, and unpickles into a TypeError."""

    def __init__(self, one, two):
        super().__init__("can't be pickled")
        self.handle = lambda: (one, two)

    def __reduce__(self):
        raise RuntimeError("not me")


def raise_unpicklable():
    raise Unpicklable(1, 2)


def report_again_when_written():
    """Report, wait until that is stored, and report something else."""
    rows = Build.objects.get(pk=current_build.id).progress
    current_app.report_progress(("part",), 1, 9, "first")
    current_app.report_progress(("other",), 1, 1, "only")
    written = until(rows.filter(status_line="first").exists)
    current_app.report_progress(("part",), 2, 8, "second")
    return written


def show_text(size):
    return "é" * size


def fail_at_length(size):
    raise type("E" * size, (Exception,), {})("m" * size)


class Quitter:
    """Its pickling ends the process, where it is let."""

    def __reduce__(self):
        raise SystemExit(5)


def return_quitter():
    return {"pages": [Quitter()]}
