"""Show one job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from builds.management.commands.list_jobs import last_build, remarks
from builds.presentation import job_detail
from builds.status import job_status
from jobcontrol_site import output
from jobcontrol_site.lookup import find_job
from jobcontrol_site.registry_commands import RegistryCommand
from jobs.models import Job


class Command(RegistryCommand):
    """Show a job: where it stands, its call and its neighbours."""

    help = "Show one job."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the job's id."""
        super().add_arguments(parser)
        parser.add_argument("job", metavar="JOB", help="the job's id")

    def run(self, **options: Any) -> None:
        """Answer with the job."""
        job = find_job(options["job"])
        status = job_status(job)
        self.emit(
            job_detail(job, status),
            human=lambda row: output.render(
                self._facts(job, row, last_build(status), "; ".join(remarks(row, status))),
                terminal=self.on_terminal,
            ),
        )

    def _next_runs(self, row: dict[str, Any]) -> str:
        return "paused" if row["schedule_paused"] else ", ".join(row["next_runs"])

    def _facts(self, job: Job, row: dict[str, Any], last: Any, remarks: str) -> Any:
        latest = row["latest_successful_build"]
        return output.facts(
            [
                ("Job", row["id"]),
                ("Title", row["title"]),
                ("Status", output.styled(row["status"])),
                ("Remarks", remarks),
                ("Last build", last if str(last) else ""),
                ("Last success", f"#{latest['id']}" if latest else ""),
                ("Next runs", self._next_runs(row)),
                ("Function", row["function"]),
                ("Tags", " ".join(row["tags"])),
                ("Dependencies", ", ".join(row["dependencies"])),
                ("Needed by", ", ".join(row["reverse_dependencies"])),
                ("Notes", row["notes"].strip()),
                ("In the file", job.config_text.rstrip()),
            ]
        )
