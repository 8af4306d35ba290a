"""Run the suite in parts side by side, on SQLite and on PostgreSQL: `make test`.

Tests of real processes and browsers mostly wait; those within one process compute, and give way to
them. The output of the first part is shown as it comes, that of each other from its start when
those before it have ended. Arguments are passed on to all of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
LOOK_SECONDS = 0.2
NOTHING_CHOSEN = 5  # pytest's exit code


# Those that wait longest: for leases that end, for grace, for servers that come back.
PATIENT = tuple(
    f"tests/process/test_{name}.py" for name in ("faults", "limits", "outages", "stopping")
)

# What these show is the same on every database: examples, documents, the launcher, the API's
# description, signals. They run once; `make test-postgres` runs them there too.
ONCE = tuple(
    f"tests/process/test_{name}.py"
    for name in (
        *("api", "benchmarks", "cancelling", "documents", "examples", "launch", "one_cluster"),
        "plan_commands",
    )
)

# The same, where PostgreSQL is the harder case: what interrupts a build meets its driver too.
# On SQLite `make test-sqlite` runs them, and the fault matrix stops builds in `make test`.
ONCE_ON_POSTGRES = ("tests/process/test_stopping.py",)
PATIENT_ON_SQLITE = tuple(path for path in PATIENT if path not in ONCE_ON_POSTGRES)

# About half of what is looked at in a browser, by the time it takes.
SEEN_FIRST = tuple(
    f"tests/browser/test_{name}.py"
    for name in ("every_page", "graph", "habits", "live", "live_lists", "logs")
)

# What processes print and how they end. What they do to a database, other tests show on both.
COMMANDS_ONCE = ("tests/integration/commands/test_command_line.py",)

PAGES = tuple(f"tests/integration/{name}" for name in ("admin", "api", "security"))


@dataclass(frozen=True)
class Suite:
    """A part of the tests, on one database; `without` names files of its folders."""

    name: str
    database: str
    folders: tuple[str, ...]
    without: tuple[str, ...] = ()
    nice: int = 0  # as nice(1) counts

    @property
    def arguments(self) -> list[str]:
        """What pytest is told."""
        return [*self.folders, *(f"--ignore={path}" for path in self.without)]


# The browser's tests and those without a database need no second run.
SUITES = (
    Suite("faults and stops on PostgreSQL", "postgres", PATIENT),
    Suite("faults and outages on SQLite", "sqlite", PATIENT_ON_SQLITE),
    Suite("processes on PostgreSQL", "postgres", ("tests/process",), without=PATIENT + ONCE),
    Suite("processes on SQLite", "sqlite", ("tests/process",), without=PATIENT),
    Suite("browser, first half", "sqlite", SEEN_FIRST),
    Suite("browser, second half", "sqlite", ("tests/browser",), without=SEEN_FIRST),
    # The longest of those that compute begin to do so early.
    Suite("pages on PostgreSQL", "postgres", PAGES, nice=2),
    Suite(
        "integration on PostgreSQL",
        "postgres",
        ("tests/integration",),
        without=PAGES + COMMANDS_ONCE,
        nice=2,
    ),
    Suite("pages on SQLite", "sqlite", PAGES, nice=3),
    Suite("integration on SQLite", "sqlite", ("tests/integration",), without=PAGES, nice=3),
    Suite("unit", "sqlite", ("tests/unit",), nice=10),
)


def start(suite: Suite, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a suite, writing into `output`."""
    first = ["nice", "-n", str(suite.nice)] if suite.nice else []
    return subprocess.Popen(
        [*first, sys.executable, "-m", "pytest", *suite.arguments, *sys.argv[1:]],
        cwd=ROOT,
        env=os.environ | {"JOBCONTROL_TEST_DB": suite.database},
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def show(process: subprocess.Popen[bytes], path: Path) -> int:
    """Show what a run has written and writes until it ends; return its exit code."""
    with path.open("rb") as file:
        while True:
            ended = process.poll() is not None
            sys.stdout.buffer.write(file.read())
            sys.stdout.buffer.flush()
            if ended:
                return process.wait()
            time.sleep(LOOK_SECONDS)


def main() -> int:
    """Run all of them and return the exit code: 0 only if all went well."""
    codes = {}
    with tempfile.TemporaryDirectory(prefix="jobcontrol-suites-") as folder:
        runs = {}
        for number, suite in enumerate(SUITES):
            path = Path(folder) / str(number)
            with path.open("wb") as output:
                runs[suite] = start(suite, output), path
        try:
            for suite, (process, path) in runs.items():
                sys.stdout.write(f"\n--- {suite.name} ---\n")
                sys.stdout.flush()
                codes[suite] = show(process, path)
        finally:
            for process, _ in runs.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)  # pytest ends its processes first
                process.wait()
    failed = [suite.name for suite, code in codes.items() if code not in (0, NOTHING_CHOSEN)]
    if set(codes.values()) == {NOTHING_CHOSEN}:
        sys.stdout.write("\nNo test was chosen.\n")
        return NOTHING_CHOSEN
    if failed:
        sys.stdout.write(f"\nFailed, see above: {', '.join(failed)}.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
