"""Resume a plan."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from builds import history, services
from builds.management.commands.show_plan import plan_text
from builds.models import Build
from builds.presentation import plan_detail
from jobcontrol.exceptions import InvalidRequest, ProtectedJob
from jobcontrol_site import people
from jobcontrol_site.commands import EXIT_BUILD_FAILED
from jobcontrol_site.following import wait_for_plan
from jobcontrol_site.lookup import find_plan
from jobcontrol_site.registry_commands import RegistryCommand


class Command(RegistryCommand):
    """Let workers build again what did not succeed in a plan. Exit code 1: a build failed."""

    help = "Build again what did not succeed in a plan, using what did."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the plan's number and how to resume it."""
        super().add_arguments(parser)
        parser.add_argument("plan", metavar="ID", type=int, help="the plan's number")
        parser.add_argument("--wait", action="store_true", help="follow the new plan until it ends")
        parser.add_argument("--arm", action="store_true", help="yes, build its protected jobs")
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="ask as this user of the site: with their permissions, noted in the history",
        )

    def run(self, **options: Any) -> None:
        """Resume, and answer with the new plan."""
        old = find_plan(options["plan"])
        user = people.asking_user(options["user"], "jobs.view_job", "builds.run_build")
        with transaction.atomic():
            try:
                made = services.resume_plan(
                    plan=old, trigger=Build.Trigger.CLI, requested_by=user, arm=options["arm"]
                )
            except ProtectedJob as error:
                raise InvalidRequest(f"{error} Say so with --arm.") from error
            if any(build.armed for build in made.builds):
                people.require(user, people.ARMING)
            if user is not None:
                history.note_request(user, made.target, "by command line")
        plan = made.plan
        assert plan is not None
        if options["wait"]:
            wait_for_plan(plan, human=self.output_format == "human")
        detail = plan_detail(plan)
        self.emit(detail, human=lambda detail: plan_text(detail, terminal=self.on_terminal))
        if detail["state"] in ("failed", "cancelled"):
            self.stdout.flush()
            sys.exit(EXIT_BUILD_FAILED)
