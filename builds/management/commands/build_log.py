"""Print the log of a build."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import QuerySet
from django.utils import timezone
from rich.text import Text

from builds.models import Build, LogMessage
from builds.pages.log_parts import lines_of
from builds.presentation import log_line
from jobcontrol.utils import TracebackInfo
from jobcontrol_site import moments, output
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_build

POLL_SECONDS = 0.5
_BATCH = 1_000  # lines read at a time


class Command(BaseCommand):
    """Print a build's log, filtered, and follow it while the build goes on."""

    help = "Print the log of a build."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the build's number and the filters."""
        super().add_arguments(parser)
        parser.add_argument("build", metavar="ID", type=int, help="the build's number")
        parser.add_argument(
            "--level", type=moments.level, default=0, help="only from this level up, e.g. WARNING"
        )
        parser.add_argument(
            "--since", type=moments.moment, help="only from this time on: ISO 8601, or 1h (ago)"
        )
        parser.add_argument("--until", type=moments.moment, help="only up to this time")
        parser.add_argument("--text", help="only lines that contain this, in any case")
        parser.add_argument("--follow", action="store_true", help="go on until the build ends")

    def run(self, **options: Any) -> None:
        """Print the lines, or answer with one list of them."""
        build = find_build(options["build"])
        batches = read_log(_matching(build, options), build, follow=options["follow"])
        if self.output_format == "json":
            lines = [log_line(message) for batch in batches for message in batch]
            self.emit(lines, human=str)
            return
        for batch in batches:
            for message in batch:
                self.stdout.write(output.render(log_text(message), terminal=self.on_terminal))
            self.stdout.flush()


def _matching(build: Build, options: dict[str, Any]) -> QuerySet[LogMessage]:
    found = lines_of(build).filter(level__gte=options["level"])
    if options["since"]:
        found = found.filter(created__gte=options["since"])
    if options["until"]:
        found = found.filter(created__lte=options["until"])
    if options["text"]:
        found = found.filter(message__icontains=options["text"])
    return found


def read_log(
    messages: QuerySet[LogMessage], build: Build, *, follow: bool
) -> Iterator[list[LogMessage]]:
    """Yield the messages in batches; with `follow` until the build has ended."""
    last = 0
    while True:
        # Asked before reading: what is written up to the end is then read below.
        ended = not follow or _has_ended(build)
        while batch := list(messages.filter(pk__gt=last)[:_BATCH]):
            last = batch[-1].pk
            yield batch
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _has_ended(build: Build) -> bool:
    """Whether the build is finished, or deleted."""
    return not Build.objects.finished(False).filter(pk=build.pk).exists()


def log_text(message: LogMessage) -> Text:
    """Return a log message as a line, a traceback below it."""
    row = log_line(message)
    created = timezone.localtime(message.created).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    line = Text.assemble(
        f"{created} ",
        (f"{row['level']:<8} ", output.STYLES.get(row["level"], "")),
        (f"{output.visible(message.logger)}: ", "dim"),
        output.visible(message.message),
    )
    if message.exception:
        trace = TracebackInfo.from_json(message.exception).format()
        line.append(f"\n{output.visible(trace)}")
    return line
