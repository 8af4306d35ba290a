"""Make .venv from a lock, with any Python from 3.11 on and nothing else installed.

    python3 tools/make_venv.py [runtime|dev|bench]

A lock that is installed already, unchanged, is not installed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 is
    sys.stderr.write(
        f"JobControl needs Python 3.11 or newer, and {sys.executable} is "
        f"{sys.version.split()[0]}. Name another one: make PYTHON=python3.12 …\n"
    )
    sys.exit(2)

import tomllib

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# dev holds all that runtime does, so that its stamp stands for both.
COVERED_BY = {"runtime": ("runtime", "dev"), "dev": ("dev",), "bench": ("bench",)}
# A lock that comes on top of another one.
BASE = {"bench": "dev"}


class CannotMakeError(Exception):
    """The environment can't be made; the text is one line that says why and what to do."""


def works(python: Path) -> bool:
    """Whether `python` can be run and has pip (its base interpreter may be gone by now)."""
    try:
        done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def make_empty() -> None:
    """Make a new, empty environment."""
    if importlib.util.find_spec("ensurepip") is None:
        raise CannotMakeError(
            f"{sys.executable} has no 'ensurepip', which makes the virtual environment. On Debian "
            "and Ubuntu: 'apt-get install python3-venv'; then run make again."
        )
    sys.stdout.write(f"Making {VENV.name} with Python {sys.version.split()[0]} …\n")
    sys.stdout.flush()
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not works(PYTHON):
        shutil.rmtree(VENV, ignore_errors=True)
        said = " ".join((done.stderr or done.stdout).split())
        raise CannotMakeError(f"'{sys.executable} -m venv' failed: {said[-500:]}")


def stamp(lock: str) -> Path:
    """Return the file that says which text of `lock` is installed."""
    return VENV / f"installed-{lock}.sha256"


def digest(lock: str) -> str:
    """Return what the stamp of `lock` must hold: it changes with all that is installed."""
    state = hashlib.sha256(str(ROOT).encode())
    state.update((ROOT / "requirements" / f"{lock}.txt").read_bytes())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # The rest of that file is for tools, and no reason to install anything again.
    parts = [project["build-system"], project["project"], project["tool"]["setuptools"]]
    state.update(json.dumps(parts, sort_keys=True).encode())
    return state.hexdigest()


def is_current(lock: str) -> bool:
    """Whether what `lock` asks for is installed."""
    return any(
        stamp(other).is_file() and stamp(other).read_text() == digest(other)
        for other in COVERED_BY[lock]
    )


def pip_install(*arguments: str) -> None:
    """Install with the environment's own pip; what it says is shown only when it fails."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        raise CannotMakeError(f"'pip install {' '.join(arguments)}' failed (see above)")


def install(lock: str) -> None:
    """Install `lock`, then the project itself on top."""
    sys.stdout.write(f"Installing requirements/{lock}.txt …\n")
    sys.stdout.flush()
    # Gone while it works, so that an interrupted install is begun anew.
    stamp(lock).unlink(missing_ok=True)
    pip_install("--require-hashes", "-r", f"requirements/{lock}.txt")
    if lock not in BASE:
        pip_install("--no-deps", "--no-build-isolation", "-e", ".")
    stamp(lock).write_text(digest(lock))


def ensure(lock: str) -> None:
    """Make sure that .venv exists and holds `lock`; two at once wait for each other."""
    with (ROOT / ".venv.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not works(PYTHON):
            make_empty()
        for each in (BASE[lock], lock) if lock in BASE else (lock,):
            if not is_current(each):
                install(each)


def main() -> int:
    """Make .venv and return the exit code."""
    lock = sys.argv[1] if len(sys.argv) > 1 else "dev"
    try:
        if lock not in COVERED_BY:
            raise CannotMakeError(f"no lock {lock!r}: it must be one of {', '.join(COVERED_BY)}")
        ensure(lock)
    except CannotMakeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
