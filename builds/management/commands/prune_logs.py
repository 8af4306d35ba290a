"""Delete old log messages."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from builds.retention import prune_logs
from jobcontrol_site import moments
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_build, find_job


class Command(BaseCommand):
    """Delete old log messages: by the policy of the file, or as the options say."""

    help = "Delete old log messages."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to delete."""
        super().add_arguments(parser)
        parser.description = (
            "Delete old log messages. Without --age and --level as 'retention: logs' of the file "
            "says; by default DEBUG after 15 days, INFO after 30, WARNING after 90, ERROR and "
            "CRITICAL after 180, any other after a year."
        )
        parser.add_argument("--job", metavar="JOB", help="only those of this job")
        parser.add_argument("--build", metavar="ID", type=int, help="only those of this build")
        parser.add_argument(
            "--age", type=moments.age, help="only older ones than: 15d, 1h, or seconds"
        )
        parser.add_argument(
            "--level", type=moments.level, help="only of this level or below, e.g. INFO"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say how many")

    def run(self, **options: Any) -> None:
        """Delete, and answer with the number."""
        job = find_job(options["job"]) if options["job"] is not None else None
        build = find_build(options["build"]) if options["build"] is not None else None
        count = prune_logs(
            job=job.pk if job else None,
            build=build.pk if build else None,
            max_age=options["age"].total_seconds() if options["age"] is not None else None,
            level=options["level"],
            dry_run=options["dry_run"],
        )
        self.emit(
            {"deleted": 0 if options["dry_run"] else count, "matching": count},
            human=lambda row: (
                f"{row['matching']} log messages would be deleted."
                if options["dry_run"]
                else f"{row['deleted']} log messages deleted."
            ),
        )
