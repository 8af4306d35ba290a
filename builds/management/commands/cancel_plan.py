"""Cancel a plan."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from builds import services
from builds.management.commands.show_plan import plan_text
from builds.plan_status import refuse_ended
from builds.presentation import plan_detail
from jobcontrol_site.lookup import find_plan
from jobcontrol_site.registry_commands import RegistryCommand


class Command(RegistryCommand):
    """Cancel what has not ended of a plan: what waits at once, what runs once it has stopped."""

    help = "Cancel what has not ended of a plan."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the plan's number."""
        super().add_arguments(parser)
        parser.add_argument("plan", metavar="ID", type=int, help="the plan's number")

    def run(self, **options: Any) -> None:
        """Cancel, and answer with the plan as it is then."""
        plan = find_plan(options["plan"])
        refuse_ended(plan)
        services.cancel_plan(plan=plan)
        self.emit(
            plan_detail(plan), human=lambda detail: plan_text(detail, terminal=self.on_terminal)
        )
