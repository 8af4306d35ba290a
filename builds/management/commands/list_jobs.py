"""List the jobs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from rich.text import Text

from builds.presentation import job_summary
from builds.status import JobStatus, job_statuses
from jobcontrol_site import output
from jobcontrol_site.registry_commands import RegistryCommand
from jobs.models import Job


class Command(RegistryCommand):
    """List the jobs in the order of the file."""

    help = "List the jobs and where they stand."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the filters."""
        super().add_arguments(parser)
        parser.add_argument(
            "--tag", action="append", default=[], help="only jobs with this tag; repeat for both"
        )

    def run(self, **options: Any) -> None:
        """Answer with one row per job."""
        jobs = list(Job.objects.active().with_tags(options["tag"]))
        statuses = job_statuses(jobs)
        rows = [job_summary(job, statuses[job.pk]) for job in jobs]
        self.emit(rows, human=lambda rows: self._table(rows, statuses))

    def _table(self, rows: list[dict[str, Any]], statuses: dict[str, JobStatus]) -> str:
        if not rows:
            return "No jobs."
        columns = ["Job", "Status", "Title", "Tags", "Last build", "Remarks"]
        cells = [
            (
                row["id"],
                output.styled(row["status"]),
                row["title"],
                " ".join(row["tags"]),
                last_build(statuses[row["id"]]),
                "; ".join(remarks(row, statuses[row["id"]])),
            )
            for row in rows
        ]
        terminal = self.on_terminal
        return output.render(output.table(columns, cells, terminal=terminal), terminal=terminal)


def last_build(status: JobStatus) -> Text:
    """Return the newest finished build as `#12 FAILED`, in its colour."""
    outcome = status.last_outcome
    if outcome is None:
        return Text("")
    return Text(f"#{outcome.build_id} {outcome.status}", style=output.STYLES[outcome.status])


def remarks(row: dict[str, Any], status: JobStatus) -> list[str]:
    """Return what a person should know beside the status."""
    found = ["running"] if row["running"] else []
    found += ["protected"] if row["protected"] else []
    found += row["stale_reasons"]
    if status.missing:
        found.append(f"needs a build of {', '.join(status.missing)}")
    if row["problem"]:
        found.append(row["problem"])
    return found
