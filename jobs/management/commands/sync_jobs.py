"""`sync_jobs`: make the registry say what the configuration file says."""

from __future__ import annotations

from typing import Any

from jobcontrol_site.commands import Command as BaseCommand
from jobs import registry
from jobs.registry import SyncReport


class Command(BaseCommand):
    """Reads the file, writes what changed and checks every job's function."""

    help = "Read the configuration file and bring the jobs in the database up to date with it."

    def run(self, **options: Any) -> None:
        """Sync and tell what changed; a wrong file changes nothing and ends with exit code 2."""
        report = registry.sync()
        self.emit(report.to_json(), human=lambda _: _for_people(report))


def _for_people(report: SyncReport) -> str:
    lines = [f"warning: {warning}" for warning in report.warnings]
    for name, ids in report.changes.to_json().items():
        lines += [f"{name}: {job_id}" for job_id in ids]
    lines += [f"problem: {job_id}: {text}" for job_id, text in report.problems.items()]
    lines.append(f"Jobs of the configuration file: {report}")
    return "\n".join(lines)
