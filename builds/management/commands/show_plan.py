"""Show one plan."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from builds.presentation import Json, plan_detail
from jobcontrol_site import output
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_plan


class Command(BaseCommand):
    """Show a plan: how it stands, and each of its builds."""

    help = "Show one plan: builds that were asked for together."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the plan's number."""
        super().add_arguments(parser)
        parser.add_argument("plan", metavar="ID", type=int, help="the plan's number")

    def run(self, **options: Any) -> None:
        """Answer with the plan."""
        detail = plan_detail(find_plan(options["plan"]))
        self.emit(detail, human=lambda detail: plan_text(detail, terminal=self.on_terminal))


def plan_text(detail: Json, *, terminal: bool) -> str:
    """Return a plan, as `plan_detail` gives it, for people."""
    facts = output.facts(
        [
            ("Plan", detail["id"]),
            ("Job", detail["job_id"]),
            ("State", output.styled(detail["state"])),
            ("Asked by", detail["requested_by"]),
            ("Resumes", detail["resumes"]),
            ("Resumed by", detail["resumed_by"]),
        ]
    )
    columns = ["Build", "Job", "Status", "Uses", "Why"]
    rows = [
        (
            f"#{build['id']}",
            build["job_id"],
            output.styled(build["status"]),
            ", ".join(f"#{number} of {name}" for name, number in build["inputs"].items()),
            build["reason"],
        )
        for build in detail["builds"]
    ]
    return output.render(
        facts, "", output.table(columns, rows, terminal=terminal), terminal=terminal
    )
