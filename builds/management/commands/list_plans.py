"""List plans."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from builds.management.commands.list_builds import DEFAULT_LIMIT, limit
from builds.plan_models import Plan
from builds.plan_status import plan_statuses
from builds.presentation import Json, plan_rows
from jobcontrol_site import output
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_job


class Command(BaseCommand):
    """List plans and how each stands."""

    help = "List plans, for one job or for all, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the job and how many."""
        super().add_arguments(parser)
        parser.add_argument("job", metavar="JOB", nargs="?", help="the job that was asked for")
        parser.add_argument(
            "--limit",
            type=limit,
            default=DEFAULT_LIMIT,
            help=f"at most so many ({DEFAULT_LIMIT}); 0 for all",
        )

    def run(self, **options: Any) -> None:
        """Answer with the plans."""
        plans = Plan.objects.select_related("requested_by").order_by("-id")
        if options["job"] is not None:
            plans = plans.filter(job=find_job(options["job"]))
        found = list(plans[: options["limit"]] if options["limit"] else plans)
        self.emit(plan_rows(found, plan_statuses(found)), human=self._table)

    def _table(self, rows: list[Json]) -> str:
        if not rows:
            return "No plans."
        columns = ["Plan", "Job", "State", "Builds", "Asked by", "Resumes"]
        cells = [
            (
                row["id"],
                row["job_id"],
                output.styled(row["state"]),
                row["builds"],
                row["requested_by"] or "",
                row["resumes"] or "",
            )
            for row in rows
        ]
        terminal = self.on_terminal
        return output.render(output.table(columns, cells, terminal=terminal), terminal=terminal)
