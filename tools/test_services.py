"""Look for what the suite needs beside Python packages, before it runs.

Under CI=true what is missing is installed with apt-get, or the run fails; elsewhere each missing
thing is named, and the tests that need it are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Need:
    """A program that some tests need."""

    what: str
    programs: tuple[str, ...]  # any of them will do
    packages: tuple[str, ...]  # Debian's names
    wanted: bool = True

    def found(self) -> bool:
        """Whether one of its programs is on the PATH."""
        return any(shutil.which(program) for program in self.programs)


NEEDS = (
    Need("Redis", ("redis-server",), ("redis-server",)),
    Need(
        "a browser",
        ("chromium", "chromium-browser", "google-chrome"),
        ("chromium",),
        wanted=any((ROOT / "tests/browser").glob("test_*.py")),
    ),
)


def apt_install(packages: list[str]) -> bool:
    """Install Debian packages; return whether that went well."""
    if not shutil.which("apt-get"):
        return False
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    commands = (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    )
    # The install alone decides: a stale list of one source does not matter.
    codes = [subprocess.run(command, env=env, check=False).returncode for command in commands]
    return codes[-1] == 0


def main() -> int:
    """Check, install where that is asked for, and return the exit code."""
    missing = [need for need in NEEDS if need.wanted and not need.found()]
    if not missing:
        return 0
    if os.environ.get("CI") == "true":
        if apt_install([package for need in missing for package in need.packages]):
            missing = [need for need in missing if not need.found()]
        for need in missing:
            sys.stderr.write(f"{need.what} is missing, and in CI nothing may be skipped\n")
        return 1 if missing else 0
    for need in missing:
        packages = " ".join(need.packages)
        sys.stderr.write(
            f"*** NOT TESTED: {need.what} is missing; its tests are skipped. "
            f"On Debian: apt-get install {packages}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
