"""Cancel builds."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from builds import services
from builds.models import Build
from jobcontrol.exceptions import BuildStateError
from jobcontrol_site.commands import EXIT_WRONG
from jobcontrol_site.lookup import find_builds
from jobcontrol_site.registry_commands import RegistryCommand


class Command(RegistryCommand):
    """Cancel builds: those that wait at once, those that run as soon as they have stopped."""

    help = "Cancel builds that wait or run."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the builds' numbers."""
        super().add_arguments(parser)
        parser.add_argument("builds", metavar="ID", type=int, nargs="+", help="builds' numbers")

    def run(self, **options: Any) -> None:
        """Cancel what has not ended, and answer with where each of them stands then."""
        rows = [self._cancel(build) for build in find_builds(options["builds"])]
        self.emit(rows, human=_lines)
        if not all(row["cancelled"] for row in rows):
            sys.exit(EXIT_WRONG)

    def _cancel(self, build: Build) -> dict[str, Any]:
        row = {"id": build.pk, "job_id": build.job_id, "status": build.status, "cancelled": False}
        try:
            services.cancel_build(build=build)
        except BuildStateError as error:
            self.warn(str(error))
            return row
        return {**row, "status": build.status, "cancelled": True}


def _lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(_line(row) for row in rows if row["cancelled"])


def _line(row: dict[str, Any]) -> str:
    if row["status"] == Build.Status.CANCELLED:
        return f"Build #{row['id']} of {row['job_id']} is cancelled."
    return f"Build #{row['id']} of {row['job_id']} runs; it is told to stop."
