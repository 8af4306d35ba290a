"""Build a job, and what it needs or what uses it."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from builds import history, services, uses, waiting
from builds.management.commands.get_build import build_text
from builds.management.commands.show_plan import plan_text
from builds.models import Build
from builds.plan_models import Plan
from builds.plan_running import run_plan, stopped_by_signals
from builds.planning import Dependencies
from builds.presentation import Json, build_detail, plan_detail, plan_preview
from builds.turns import run_in_turn
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import InvalidRequest, NotFound, ProtectedJob
from jobcontrol_site import output, people
from jobcontrol_site.commands import EXIT_BUILD_FAILED, kept_clean, quieted
from jobcontrol_site.following import displayed, wait_for_build, wait_for_plan
from jobcontrol_site.lookup import BIGGEST_ID, find_job
from jobcontrol_site.registry_commands import RegistryCommand
from jobs.models import Job


class Command(RegistryCommand):
    """Build a job here, or hand it to a worker. Exit code 1 says that a build failed."""

    help = "Build a job, here or in a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the job and how to build it."""
        super().add_arguments(parser)
        parser.add_argument("job", metavar="JOB", help="the job's id")
        parser.add_argument("--queue", action="store_true", help="let workers build it")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="with --queue: follow the build, or all of the plan, until it ends, with retries",
        )
        parser.add_argument("--arm", action="store_true", help="yes, build what is protected")
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="ask as this user of the site: with their permissions, noted in the history",
        )
        self._add_plan(parser)

    def _add_plan(self, parser: CommandParser) -> None:
        first = parser.add_mutually_exclusive_group()
        for flag, value, text in (
            ("--missing-dependencies", Dependencies.MISSING, "that have no success yet"),
            ("--with-dependencies", Dependencies.OUTDATED, "that are missing or outdated"),
            ("--all-dependencies", Dependencies.ALL, "all of them"),
        ):
            first.add_argument(
                flag,
                dest="dependencies",
                action="store_const",
                const=value,
                default=Dependencies.NONE,
                help=f"first build its dependencies: {text}",
            )
        parser.add_argument(
            "--rebuild-reverse-dependencies",
            action="store_true",
            help="then build all jobs that use it, directly or not",
        )
        parser.add_argument(
            "--rebuild",
            metavar="USER",
            action="append",
            default=[],
            help="then build this job that uses it, and those between; may be repeated",
        )
        parser.add_argument(
            "--use",
            metavar="DEP=BUILD",
            action="append",
            default=[],
            type=_use,
            help="the build of a dependency to use: its number, 'latest', or 'now' to build it "
            "first; may be repeated",
        )
        parser.add_argument(
            "--plan", action="store_true", help="say what would be built and why; start nothing"
        )

    def run(self, **options: Any) -> None:
        """Build, and answer with the build of the job and the plan that it belongs to."""
        if options["wait"] and not options["queue"]:
            raise InvalidRequest("--wait goes with --queue: without it the build runs here.")
        job = find_job(options["job"])
        needed = ["jobs.view_job", "builds.run_build"]
        if job.protected and options["arm"]:
            needed.append(people.ARMING)
        self._user = people.asking_user(options["user"], *needed)
        wish = _wish(job, options) | {"requested_by": self._user}
        if options["plan"]:
            found = services.plan_for(services.Request(**wish))
            self.emit(plan_preview(found), human=self._preview)
            return
        try:
            build = self._build(wish, options)
        except ProtectedJob as error:
            raise InvalidRequest(f"{error} Say so with --arm.") from error
        self._answer(build)

    # --- Building

    def _build(self, wish: dict[str, Any], options: dict[str, Any]) -> Build:
        if not options["queue"]:
            return self._run_here(wish)
        with transaction.atomic():
            build = services.request_build(**wish)
            self._note(build)
        self._warn_of_queues(build)
        if options["wait"] and build.plan is not None:
            wait_for_plan(build.plan, human=self.output_format == "human")
        elif options["wait"]:
            return wait_for_build(build, human=self.output_format == "human")
        return build

    def _warn_of_queues(self, build: Build) -> None:
        """Say in which queues nobody works, before anybody waits for what is in them."""
        names = {build.queue}
        if build.plan_id is not None:
            names |= set(Build.objects.filter(plan=build.plan_id).values_list("queue", flat=True))
        for nobody in filter(None, map(waiting.unserved, sorted(names))):
            self.warn(f"{nobody}.")

    def _run_here(self, wish: dict[str, Any]) -> Build:
        if wish["options"].are_plain:
            services.refuse_unarmed(job=wish["job"], arm=wish["arm"])
            with transaction.atomic():
                build = services.create_build(**wish)
                self._note(build)
            return self._run_one(build, arm=wish["arm"])
        # From before there are builds, so that no signal leaves any behind.
        with stopped_by_signals() as stop:
            with transaction.atomic():
                build = services.create_plan(runner=str(WorkerIdentity.current()), **wish)
                self._note(build)
            if build.plan is not None:
                with self._around(build.plan):
                    run_plan(build.plan, stop=stop, say=self.warn)
                return build
        if stop.is_set():
            return services.cancel_build(build=build)
        return self._run_one(build, arm=wish["arm"])

    def _run_one(self, build: Build, *, arm: bool) -> Build:
        with self._around(build), _ended_by_sigterm():
            return run_in_turn(build, say=self.warn, arm=arm)

    @contextmanager
    def _around(self, what: Build | Plan) -> Iterator[None]:
        """Show the progress of what runs here, and keep the answer on stdout clean."""
        human = self.output_format == "human"
        stdout = nullcontext() if human else kept_clean()
        # The workers' own lines say what this command says in its answer.
        with displayed(what, human=human), quieted("builds", logging.WARNING), stdout:
            yield

    def _note(self, build: Build) -> None:
        """Write into the history who asked; refuse whom the site would refuse."""
        if self._user is None:
            return
        if build.plan_id and Build.objects.filter(plan=build.plan_id, armed=True).exists():
            people.require(self._user, people.ARMING)
        history.note_request(self._user, build, "by command line")

    # --- Answering

    def _answer(self, build: Build) -> None:
        plan = None if build.plan is None else plan_detail(build.plan)
        if build.plan is not None:
            build = _of_plan(build.plan, build)
        if self.output_format == "json":
            self.emit({**build_detail(build), "plan": plan}, human=str)
        else:
            self.emit(build, human=lambda build: self._text(build, plan))
        ended_badly = build.finished and not build.success
        if ended_badly or (plan and plan["state"] in ("failed", "cancelled")):
            self.stdout.flush()
            sys.exit(EXIT_BUILD_FAILED)

    def _text(self, build: Build, plan: Json | None) -> str:
        if plan is None and not build.finished:
            return f"Build #{build.pk} of {build.job_id} is queued."
        if plan is None:
            return build_text(build, terminal=self.on_terminal)
        text = plan_text(plan, terminal=self.on_terminal)
        if not build.finished:
            return f"Plan {plan['id']} is queued.\n\n{text}"
        return f"{text}\n\n{build_text(build, terminal=self.on_terminal)}"

    def _preview(self, found: Json) -> str:
        terminal = self.on_terminal
        builds = [
            (
                one["job_id"],
                one["reason"],
                ", ".join(_input(name, number) for name, number in one["inputs"].items()),
                "protected: --arm" if one["protected"] else "",
            )
            for one in found["builds"]
        ]
        reused = [(f"#{one['build_id']}", one["job_id"], one["reason"]) for one in found["reused"]]
        blocked = [(one["job_id"], one["reason"]) for one in found["blocked"]]
        parts: list[Any] = []
        for title, columns, rows in (
            ("To be built, in this order", ["Job", "Why", "Uses", "Remarks"], builds),
            ("Used as they are", ["Build", "Job", "Why"], reused),
            ("Can't be built", ["Job", "Why"], blocked),
        ):
            if rows:
                parts += ["", title] if parts else [title]
                parts.append(output.table(columns, rows, terminal=terminal))
        return output.render(*parts, terminal=terminal)


def _wish(job: Job, options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `services.Request`."""
    chosen, build_now = uses.read(job, _once(options["use"]))
    rebuild = True if options["rebuild_reverse_dependencies"] else options["rebuild"]
    return {
        "job": job,
        "trigger": Build.Trigger.CLI,
        "arm": options["arm"],
        "dependency_builds": chosen,
        "options": uses.options(
            dependencies=options["dependencies"], build_now=build_now, rebuild=rebuild
        ),
    }


def _use(text: str) -> tuple[str, int | str]:
    name, _, build = text.rpartition("=")
    if name and build in (uses.LATEST, uses.NOW):
        return name, build
    number = build.removeprefix("#")
    if name and number.isascii() and number.isdecimal() and 0 < int(number[:20]) <= BIGGEST_ID:
        return name, int(number)
    raise argparse.ArgumentTypeError(f"{text!r}: write DEP=12, DEP=latest or DEP=now")


def _once(pairs: list[tuple[str, int | str]]) -> dict[str, int | str]:
    found = dict(pairs)
    twice = [name for name in found if sum(other == name for other, _ in pairs) > 1]
    if twice:
        raise InvalidRequest(f"--use names {', '.join(map(repr, twice))} more than once.")
    return found


def _input(name: str, number: int | None) -> str:
    return f"{name} (new)" if number is None else f"#{number} of {name}"


def _of_plan(plan: Plan, build: Build) -> Build:
    """Return the target's build as it is now: its newest attempt."""
    newest = Build.objects.filter(plan=plan, job=build.job_id).select_related("job", "plan")
    found = newest.order_by("-pk").first()
    if found is None:
        raise NotFound(f"build #{build.pk} was deleted while it was waited for")
    return found


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
