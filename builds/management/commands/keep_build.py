"""Mark builds to be kept."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from builds import services
from jobcontrol.exceptions import JobControlException
from jobcontrol_site.commands import EXIT_WRONG
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_builds


class Command(BaseCommand):
    """Mark builds so that no retention and no bulk deletion removes them, or unmark them."""

    help = "Mark builds to be kept, whatever the file's retention says."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the builds' numbers."""
        super().add_arguments(parser)
        parser.add_argument("builds", metavar="ID", type=int, nargs="+", help="builds' numbers")
        parser.add_argument("--off", action="store_true", help="take the mark away")

    def run(self, **options: Any) -> None:
        """Mark or unmark what can be, and answer with each build's mark."""
        keep = not options["off"]
        rows = []
        refused = False
        for build in find_builds(options["builds"]):
            try:
                services.keep_build(build=build, keep=keep)
            except JobControlException as error:
                refused = True
                self.warn(str(error))
            rows.append({"id": build.pk, "job_id": build.job_id, "keep": build.keep})
        self.emit(rows, human=lambda rows: "\n".join(_line(row) for row in rows))
        if refused:
            sys.exit(EXIT_WRONG)


def _line(row: dict[str, Any]) -> str:
    how = "is kept" if row["keep"] else "may go by the retention"
    return f"Build #{row['id']} of {row['job_id']} {how}."
