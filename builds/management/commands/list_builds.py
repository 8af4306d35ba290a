"""List builds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from builds.models import Build
from builds.presentation import build_rows
from builds.status import reason
from builds.waiting import reasons
from jobcontrol_site import output
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_job

FLAGS = ("started", "finished", "success", "skipped", "kept")
DEFAULT_LIMIT = 100


class Command(BaseCommand):
    """List builds by the manual's filters."""

    help = "List builds, of one job or of all, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the filters; each `--flag` has its `--no-flag`."""
        super().add_arguments(parser)
        parser.add_argument("job", metavar="JOB", nargs="?", help="the job's id; all jobs without")
        for flag in FLAGS:
            parser.add_argument(
                f"--{flag}",
                action=argparse.BooleanOptionalAction,
                help=f"only builds that are, or are not, {flag}",
            )
        parser.add_argument(
            "--order", choices=["asc", "desc"], default="desc", help="oldest or newest first"
        )
        parser.add_argument(
            "--limit",
            type=limit,
            default=DEFAULT_LIMIT,
            help=f"at most so many ({DEFAULT_LIMIT}); 0 for all",
        )

    def run(self, **options: Any) -> None:
        """Answer with the builds."""
        builds = Build.objects.all()
        if options["job"] is not None:
            builds = builds.filter(job=find_job(options["job"]))
        for flag in FLAGS:
            if options[flag] is not None:
                builds = getattr(builds, flag)(options[flag])
        builds = builds.order_by("id" if options["order"] == "asc" else "-id")
        found = list(builds[: options["limit"]] if options["limit"] else builds)
        if self.output_format == "json":
            self.emit(build_rows(found), human=str)
        else:
            self.emit(found, human=self._table)

    def _table(self, builds: list[Build]) -> str:
        if not builds:
            return "No builds."
        now, waits = timezone.now(), reasons(builds)
        columns = ["Build", "Job", "Status", "Started", "Took", "Asked by", "Remarks"]
        rows = [
            (
                f"#{build.pk}",
                build.job_id,
                output.styled(build.status),
                output.moment(build.start_time),
                output.seconds(build.duration(now)),
                build.get_trigger_display(),
                _remarks(build, waits),
            )
            for build in builds
        ]
        terminal = self.on_terminal
        return output.render(output.table(columns, rows, terminal=terminal), terminal=terminal)


def _remarks(build: Build, waits: Mapping[int, str]) -> str:
    line = _first_line(reason(build) or waits.get(build.pk, ""))
    return f"{line} (kept)".strip() if build.keep else line


def _first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 120 else f"{line[:119]}…"


def limit(text: str) -> int:
    """Read how many rows a list has at most. Raises ArgumentTypeError."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of builds")
    return int(text)
