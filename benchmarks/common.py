"""What the programs here share: a site of their own in a temporary folder, and its memory."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests import bootstrap  # noqa: E402 - found only now
from tests.support.databases import new_database, sqlite_url  # noqa: E402
from tests.support.site import Site  # noqa: E402

MIB = 1024 * 1024


@contextmanager
def site() -> Iterator[Site]:
    """Make a site: on PostgreSQL (a server of its own), or with JOBCONTROL_TEST_DB=sqlite there."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobcontrol-bench-")))
        if os.environ.get("JOBCONTROL_TEST_DB") == "sqlite":
            url = sqlite_url(folder / "jobcontrol.sqlite3")
        else:
            bootstrap.postgres_url(bootstrap.FOLDER)
            url = stack.enter_context(new_database())
        made = stack.enter_context(Site(folder, url))
        made.migrate()
        yield made


def memory(process: psutil.Process) -> float:
    """Return what a process has of its own in MiB: without what it shares with others."""
    try:
        return process.memory_full_info().uss / MIB
    except psutil.Error:
        return 0.0
