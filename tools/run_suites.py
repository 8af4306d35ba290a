"""Run the suite on SQLite and on PostgreSQL at once: `make test`.

Much of it waits for workers and browsers, so that two runs take little longer than one. The output
of the first is shown as it comes, that of the second from its start when the first has ended.
Arguments are passed on to both.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
# The browser's tests and those without a database need no second run.
SUITES: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgres": ("tests/integration", "tests/process"),
}
LOOK_SECONDS = 0.2
NOTHING_CHOSEN = 5  # pytest's exit code


def start(database: str, folders: tuple[str, ...], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the suite on one database, writing into `output`."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *folders, *sys.argv[1:]],
        cwd=ROOT,
        env=os.environ | {"JOBCONTROL_TEST_DB": database},
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
    """Run both and return the exit code: 0 only if both went well."""
    codes = {}
    with tempfile.TemporaryDirectory(prefix="jobcontrol-suites-") as folder:
        runs = {}
        for database, folders in SUITES.items():
            path = Path(folder) / database
            with path.open("wb") as output:
                runs[database] = start(database, folders, output), path
        try:
            for database, (process, path) in runs.items():
                sys.stdout.write(f"\n--- The suite on {database} ---\n")
                sys.stdout.flush()
                codes[database] = show(process, path)
        finally:
            for process, _ in runs.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)  # pytest ends its processes first
                process.wait()
    failed = [database for database, code in codes.items() if code not in (0, NOTHING_CHOSEN)]
    if set(codes.values()) == {NOTHING_CHOSEN}:
        sys.stdout.write("\nNo test was chosen.\n")
        return NOTHING_CHOSEN
    if failed:
        sys.stdout.write(f"\nThe suite failed on {' and on '.join(failed)}: see above.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
