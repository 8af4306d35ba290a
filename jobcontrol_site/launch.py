"""What `make run` starts: the whole site on this machine, for one person to try and to use.

Makes the tables, reads the jobs, makes a first user, then runs the web server and the worker as
child processes until it is told to stop or one of them ends.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, connections

from jobcontrol.exceptions import JobControlException
from jobcontrol_site import server
from jobcontrol_site.cli import complain, load_settings

HOST = "127.0.0.1"
USER = "admin"
EXIT_CHILD_DIED = 1

START_SECONDS = 60  # until the first page must have answered
STOP_SECONDS = 35  # a worker may end what it is doing
LAST_CHANCE_SECONDS = 3
SAME_REQUEST_SECONDS = 1
_POLL_SECONDS = 0.1


def main() -> int:
    """Run the site until it is stopped, and return the exit code."""
    stopper = Stopper()
    port = os.environ.get("PORT") or "8000"
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        return complain(f"PORT is {port!r}: it must be a number from 1 to 65535")
    # This machine only, whatever the file says about serving others.
    os.environ["HOST"] = HOST
    try:
        load_settings()
        if not server.is_free(HOST, int(port)):
            return complain(
                f"port {port} is in use by another program; choose another: PORT=8001 make run"
            )
        password = prepare()
    except (ImproperlyConfigured, JobControlException) as error:
        return complain(str(error))
    except DatabaseError as error:
        return complain(f"the database can't be used: {' '.join(str(error).split())}")
    # Children find the same file, wherever it was found.
    os.environ["JOBCONTROL_CONFIG"] = settings.JOBCONTROL_CONFIG
    return run_site(int(port), password, stopper)


# --- Before the start -----------------------------------------------------------------------------


def prepare() -> str:
    """Make tables, registry and first user; return what to tell about the password."""
    # Reads the jobs too. A broken file is not the end: the site follows it when it is mended.
    call_command("migrate", interactive=False, verbosity=0)
    password = first_user(settings.JOBCONTROL_STATE / "admin_password")
    connections.close_all()
    return password


def first_user(path: Path) -> str:
    """Make the user `admin` unless there is one; return the password, or how to set a new one.

    The generated password is kept in `path`, readable by its owner only. A password that the user
    has changed is never touched.
    """
    users = get_user_model()._default_manager
    user = users.filter(username=USER).first()
    kept = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    if user is None:
        password = kept or secrets.token_urlsafe(12)
        _keep(path, password)
        users.create_superuser(username=USER, email="", password=password)
        return password
    if kept and user.check_password(kept):
        return kept
    return f"the one you chose (to set a new one: jobcontrol-cli changepassword {USER})"


def _keep(path: Path, password: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    # Made anew with the mode: there is no moment in which others could read it.
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(password + "\n")


# --- Running --------------------------------------------------------------------------------------


class Stopper:
    """Notes the signals that ask to stop; a further one, a while later, asks to hurry.

    The same request often comes twice at once: from the terminal, and from `make`.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._last = float("-inf")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > SAME_REQUEST_SECONDS:
            self.requests += 1
        self._last = now


@dataclass
class Child:
    """A child process that leads a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, *arguments: str) -> Child:
        """Start a command of ours."""
        # No shell, and nothing but our own words and numbers.
        command = [sys.executable, "-m", "jobcontrol_site.cli", *arguments]
        process = subprocess.Popen(  # noqa: S603
            command, start_new_session=True, stdin=subprocess.DEVNULL
        )
        return cls(name, process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the leader, which stops its own children in order."""
        if self.is_running:
            self.process.terminate()

    def kill_group(self) -> None:
        """Kill the leader and whatever is left of its group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # nothing is left
        self.process.wait(timeout=LAST_CHANCE_SECONDS)


def run_site(port: int, password: str, stopper: Stopper) -> int:
    """Start web and worker, say where they are, and keep them until the end."""
    children = []
    try:
        children.append(Child.start("web server", "web", "--host", HOST, "--port", str(port)))
        children.append(Child.start("worker", "qcluster"))
        url = f"http://{HOST}:{port}/"
        is_up = _wait(lambda: _answers(url), children, stopper, START_SECONDS)
        if is_up:
            sys.stdout.write(f"URL: {url}\nUser: {USER}\nPassword: {password}\n")
            sys.stdout.flush()
            _wait(lambda: False, children, stopper, None)
        return _exit_code(children, stopper, is_up=is_up)
    finally:
        stop(children, stopper)


def _wait(
    is_done: Callable[[], bool], children: list[Child], stopper: Stopper, limit: float | None
) -> bool:
    """Wait until `is_done`, a signal, a child's end or `limit` seconds; return whether done."""
    end = None if limit is None else time.monotonic() + limit
    while not stopper.requests and all(child.is_running for child in children):
        if is_done():
            return True
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _answers(url: str) -> bool:
    """Whether a page comes; an answer such as 400 is one."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _exit_code(children: list[Child], stopper: Stopper, *, is_up: bool) -> int:
    if stopper.requests:
        return 0
    dead = [child for child in children if not child.is_running]
    for child in dead:
        sys.stderr.write(
            f"jobcontrol: the {child.name} ended by itself (exit code "
            f"{child.process.returncode}); stopping the rest.\n"
        )
    if not dead and not is_up:
        sys.stderr.write(f"jobcontrol: no page came in {START_SECONDS} seconds; stopping.\n")
    return EXIT_CHILD_DIED


def stop(children: list[Child], stopper: Stopper) -> None:
    """Ask all to stop; kill what is left when the time is over or a further signal comes."""
    asked_before = stopper.requests
    for child in reversed(children):
        child.ask_to_stop()
    end = time.monotonic() + STOP_SECONDS
    while any(child.is_running for child in children) and time.monotonic() < end:
        if stopper.requests > asked_before:
            break
        time.sleep(_POLL_SECONDS)
    for child in children:
        child.kill_group()


if __name__ == "__main__":
    sys.exit(main())
