"""Delete builds."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandParser

from builds.deletion import delete_build
from builds.deletion_models import Deletion
from builds.models import Build
from jobcontrol.exceptions import JobControlException
from jobcontrol_site.commands import EXIT_WRONG, kept_clean
from jobcontrol_site.lookup import find_builds
from jobcontrol_site.registry_commands import RegistryCommand


class Command(RegistryCommand):
    """Delete builds, each after its job's cleanup function; one that fails keeps its build."""

    help = "Delete builds, each after its job's cleanup."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the builds' numbers."""
        super().add_arguments(parser)
        parser.add_argument("builds", metavar="ID", type=int, nargs="+", help="builds' numbers")
        parser.add_argument(
            "--no-cleanup", action="store_true", help="leave what the build made where it is"
        )
        parser.add_argument("--yes", action="store_true", help="not needed: nothing is asked")

    def run(self, **options: Any) -> None:
        """Delete what can be deleted, and answer with what became of each build."""
        builds = find_builds(options["builds"])
        with kept_clean() if self.output_format == "json" else nullcontext():
            rows = [self._delete(build, cleanup=not options["no_cleanup"]) for build in builds]
        self.emit(rows, human=lambda rows: "\n".join(_line(row) for row in rows if row["deleted"]))
        if not all(row["deleted"] for row in rows):
            sys.exit(EXIT_WRONG)

    def _delete(self, build: Build, *, cleanup: bool) -> dict[str, Any]:
        row = {"id": build.pk, "job_id": build.job_id, "deleted": False, "outcome": None}
        try:
            deletion = delete_build(build=build, cleanup=cleanup)
        except JobControlException as error:
            self.warn(str(error))
            return row
        return {**row, "deleted": True, "outcome": deletion.outcome}


def _line(row: dict[str, Any]) -> str:
    outcome = Deletion.Outcome(row["outcome"]).label
    return f"Build #{row['id']} of {row['job_id']} is deleted ({outcome})."
