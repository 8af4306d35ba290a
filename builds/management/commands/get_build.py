"""Show one build."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.console import RenderableType
from rich.text import Text

from builds.models import Build, BuildPayload
from builds.presentation import build_detail
from builds.progress import progress_tree
from builds.status import reason
from builds.waiting import reasons
from builds.workers import WorkerIdentity
from jobcontrol.utils import TracebackInfo
from jobcontrol_site import output
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_build
from jobs.policies import DEFAULT_QUEUE


class Command(BaseCommand):
    """Show a build: how it stands, what it used and what came of it."""

    help = "Show one build."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the build's number."""
        super().add_arguments(parser)
        parser.add_argument("build", metavar="ID", type=int, help="the build's number")

    def run(self, **options: Any) -> None:
        """Answer with the build."""
        build = find_build(options["build"])
        if self.output_format == "json":
            self.emit(build_detail(build), human=str)
        else:
            self.emit(build, human=lambda build: build_text(build, terminal=self.on_terminal))


def build_text(build: Build, *, terminal: bool) -> str:
    """Return everything about a build but its log, for people."""
    payload = BuildPayload.objects.defer("retval", "config").filter(pk=build.pk).first()
    parts: list[RenderableType] = [_facts(build)]
    if build.progress.exists():
        parts += [_heading("Progress"), Text(output.progress_text(progress_tree(build)))]
    if payload and build.status == Build.Status.SUCCESSFUL:
        parts += [_heading("Return value"), Text(output.visible(payload.retval_text))]
    if payload and payload.traceback:
        text = TracebackInfo.from_json(payload.traceback).format()
        parts += [_heading("Traceback"), Text(output.visible(text))]
    return output.render(*parts, terminal=terminal)


def _facts(build: Build) -> RenderableType:
    worker = WorkerIdentity.parse(build.worker)
    inputs = build.inputs.order_by("pk").values_list("job_id", "dep_build_number")
    return output.facts(
        [
            ("Build", f"#{build.pk}"),
            ("Job", build.job_id),
            ("Status", output.styled(build.status)),
            ("Waits", reasons([build]).get(build.pk, "")),
            ("Queue", "" if build.queue == DEFAULT_QUEUE else build.queue),
            ("Failure", build.get_failure_kind_display() if build.failure_kind else ""),
            ("Reason", reason(build)),
            ("Asked by", build.get_trigger_display()),
            ("Created", output.moment(build.created)),
            ("Started", output.moment(build.start_time)),
            ("Ended", output.moment(build.end_time)),
            ("Took", output.seconds(build.duration(timezone.now()))),
            ("Worker", worker.label if worker else build.worker),
            ("Uses", ", ".join(f"#{number} of {job_id}" for job_id, number in inputs)),
        ]
    )


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")
