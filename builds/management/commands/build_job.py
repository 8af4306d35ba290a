"""Build a job."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandParser
from django.db import connection, transaction

from builds import history, services
from builds.management.commands.get_build import build_text
from builds.models import Build
from builds.presentation import build_detail
from builds.progress import progress_tree
from builds.turns import run_in_turn
from jobcontrol.exceptions import InvalidRequest, NotFound, ProtectedJob
from jobcontrol.utils.text import clean_text
from jobcontrol_site.commands import EXIT_BUILD_FAILED, kept_clean, quieted
from jobcontrol_site.lookup import find_job
from jobcontrol_site.output import LiveProgress
from jobcontrol_site.registry_commands import RegistryCommand
from jobs.models import Job

POLL_SECONDS = 0.5


class Command(RegistryCommand):
    """Build a job here, or hand it to a worker. Exit code 1 says that the build failed."""

    help = "Build a job, here or in a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the job and how to build it."""
        super().add_arguments(parser)
        parser.add_argument("job", metavar="JOB", help="the job's id")
        parser.add_argument("--queue", action="store_true", help="let a worker build it")
        parser.add_argument(
            "--wait", action="store_true", help="with --queue: follow the build until it ends"
        )
        parser.add_argument("--arm", action="store_true", help="yes, build this protected job")
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="ask as this user of the site: with their permissions, noted in the history",
        )

    def run(self, **options: Any) -> None:
        """Build, and answer with the build."""
        if options["wait"] and not options["queue"]:
            raise InvalidRequest("--wait goes with --queue: without it the build runs here.")
        job = find_job(options["job"])
        self._user = _user(options["user"], job=job, arm=options["arm"])
        build = self._build(job, options)
        if self.output_format == "json":
            self.emit(build_detail(build), human=str)
        else:
            self.emit(build, human=self._text)
        if build.finished and not build.success:
            self.stdout.flush()
            sys.exit(EXIT_BUILD_FAILED)

    def _build(self, job: Job, options: dict[str, Any]) -> Build:
        try:
            if options["queue"]:
                return self._queue(job, arm=options["arm"], wait=options["wait"])
            return self._run_here(job, arm=options["arm"])
        except ProtectedJob as error:
            raise InvalidRequest(f"{error} Say so with --arm.") from error

    def _text(self, build: Build) -> str:
        if not build.finished:
            return f"Build #{build.pk} of {build.job_id} is queued."
        return build_text(build, terminal=self.on_terminal)

    def _run_here(self, job: Job, *, arm: bool) -> Build:
        services.refuse_unarmed(job=job, arm=arm)
        with transaction.atomic():
            build = services.create_build(
                job=job, trigger=Build.Trigger.CLI, requested_by=self._user
            )
            self._note(build)
        stdout = kept_clean() if self.output_format == "json" else nullcontext()
        # The workers' own lines say what this command says in its answer.
        quiet = quieted("builds", logging.WARNING)
        with self._display(build), quiet, _ended_by_sigterm(), stdout:
            return run_in_turn(build, say=self.warn, arm=arm)

    def _queue(self, job: Job, *, arm: bool, wait: bool) -> Build:
        with transaction.atomic():
            build = services.request_build(
                job=job, trigger=Build.Trigger.CLI, requested_by=self._user, arm=arm
            )
            self._note(build)
        if not wait:
            return build
        with self._display(build):
            while not build.finished:
                time.sleep(POLL_SECONDS)
                build = _again(build)
        return build

    def _note(self, build: Build) -> None:
        if self._user is not None:
            asked = "Armed and asked" if build.job.protected else "Asked"
            history.note(self._user, build.job, f"{asked} for build #{build.pk} by command line.")

    @contextmanager
    def _display(self, build: Build) -> Iterator[None]:
        """Draw the build's progress on stderr while the body runs, if a person looks at it."""
        if self.output_format != "human" or not sys.stderr.isatty():
            yield
            return
        over = threading.Event()
        with LiveProgress(f"#{build.pk} {build.job_id}") as display:
            # A thread: the job has the main one, where its signals arrive.
            drawer = threading.Thread(target=_draw, args=(build, display, over), daemon=True)
            drawer.start()
            try:
                yield
            finally:
                over.set()
                drawer.join(timeout=5)


def _user(name: str | None, *, job: Job, arm: bool) -> Any:
    """Return the user of this name, None for none; refuse whom the site would refuse."""
    if name is None:
        return None
    users = get_user_model()
    user = users.objects.filter(**{users.USERNAME_FIELD: clean_text(name)}).first()
    if user is None or not user.is_active:
        raise NotFound(f"there is no active user {name!r}")
    needed = ["jobs.view_job", "builds.run_build"]
    if job.protected and arm:
        needed.append("builds.run_protected_build")
    missing = [permission for permission in needed if not user.has_perm(permission)]
    if missing:
        raise InvalidRequest(f"{name!r} may not do that: {', '.join(missing)} is needed.")
    return user


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the job like Ctrl-C does, so that its build does not stay RUNNING."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _draw(build: Build, display: LiveProgress, over: threading.Event) -> None:
    try:
        while not over.wait(POLL_SECONDS):
            display.show(progress_tree(build))
    finally:
        # This thread's own connection.
        connection.close()


def _again(build: Build) -> Build:
    found = Build.objects.filter(pk=build.pk).first()
    if found is None:
        raise NotFound(f"build #{build.pk} was deleted while it was waited for")
    return found
