"""Remove old builds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from builds import deletion, retention, services
from jobcontrol_site.lookup import find_job
from jobcontrol_site.registry_commands import RegistryCommand
from jobs import registry


class Command(RegistryCommand):
    """Remove builds past the limits that `retention: builds` of the file, or of a job, sets."""

    help = "Remove old builds, as the file's retention says."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to remove."""
        super().add_arguments(parser)
        parser.description = (
            "Remove builds past the limits of 'retention: builds'. What stays in any case: the "
            "latest success of a job, builds that are marked to be kept, pinned in the file, used "
            "or tried again by an unfinished build, or unfinished. Builds that name a cleanup "
            "function are left to a worker, which calls it first."
        )
        parser.add_argument("--job", metavar="JOB", help="only those of this job")
        parser.add_argument("--dry-run", action="store_true", help="only say how many")

    def run(self, **options: Any) -> None:
        """Remove, and answer with the numbers."""
        job = find_job(options["job"]).pk if options["job"] is not None else None
        section = registry.configuration().site.retention
        jobs: Counter[str] = Counter()
        to_clean_up = 0
        for job_id, limits in retention.jobs_with_limits(section, job):
            for page in retention.prunable_pages(job_id, limits):
                if options["dry_run"]:
                    jobs[job_id] += len(page)
                    to_clean_up += sum(map(bool, services.cleanup_functions(page).values()))
                elif page:
                    pruned = services.prune_builds(job_id=job_id, builds=page)
                    jobs[job_id] += sum(pruned)
                    to_clean_up += pruned.to_clean_up
        if not options["dry_run"]:
            while deletion.remove_waiting():
                pass
        matching = jobs.total()
        self.emit(
            {
                "matching": matching,
                "deleted": 0 if options["dry_run"] else matching - to_clean_up,
                "to_clean_up": to_clean_up,
                "jobs": {job_id: count for job_id, count in jobs.items() if count},
            },
            human=lambda row: _text(row, dry_run=options["dry_run"]),
        )


def _text(row: dict[str, Any], *, dry_run: bool) -> str:
    lines = [f"{job_id}: {count}" for job_id, count in row["jobs"].items()]
    if dry_run:
        cleanup = f", {row['to_clean_up']} of them after their cleanup" * bool(row["to_clean_up"])
        return "\n".join([*lines, f"{row['matching']} builds would be deleted{cleanup}."])
    lines.append(f"{row['deleted']} builds deleted.")
    if row["to_clean_up"]:
        lines.append(f"{row['to_clean_up']} wait for a worker that cleans up and deletes them.")
    return "\n".join(lines)
