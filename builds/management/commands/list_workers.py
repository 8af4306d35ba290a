"""List the workers."""

from __future__ import annotations

from typing import Any

from django.template.defaultfilters import filesizeformat

from builds.crews import Crew, Worker, crews, with_now
from builds.presentation import crew_row
from builds.upkeep_models import Cluster
from jobcontrol_site import output
from jobcontrol_site.commands import Command as BaseCommand


class Command(BaseCommand):
    """List the clusters by host, and what each of their workers runs."""

    help = "List the workers, by host and cluster, and what each of them runs."

    def run(self, **_options: Any) -> None:
        """Answer with one row per cluster."""
        found = crews(with_now(Cluster.objects.all()))
        self.emit([crew_row(crew) for crew in found], human=lambda _: self._text(found))

    def _text(self, found: list[Crew]) -> str:
        if not found:
            return "No worker has been started: 'worker' starts them."
        terminal = self.on_terminal
        clusters = output.table(
            ["Cluster", "Queue", "State", "Busy", "Started", "Last seen", "Remarks"],
            [_row(crew) for crew in found],
            terminal=terminal,
        )
        workers = output.table(
            ["Worker", "Of", "Memory", "Runs"],
            [_worker_row(crew, worker) for crew in found for worker in crew.workers],
            terminal=terminal,
        )
        return output.render(clusters, "", workers, terminal=terminal)


def _row(crew: Crew) -> tuple[object, ...]:
    cluster = crew.cluster
    remarks = [cluster.trouble] if cluster.trouble else []
    if cluster.drain_requested:
        by = f" by {cluster.drain_requested_by}" if cluster.drain_requested_by else ""
        remarks.append(f"drained{by} {output.moment(cluster.drain_requested)}")
    return (
        _name(crew),
        cluster.queue,
        crew.state,
        f"{crew.busy} of {cluster.workers}",
        output.moment(cluster.started),
        output.moment(cluster.last_seen),
        "; ".join(remarks),
    )


def _worker_row(crew: Crew, worker: Worker) -> tuple[object, ...]:
    runs = [f"#{build.pk} of {build.job_id}" for build in worker.builds]
    runs += [f"deletion of #{one.build_number} of {one.job_id}" for one in worker.deletions]
    memory = "" if worker.memory is None else filesizeformat(worker.memory).replace("\xa0", " ")
    return worker.pid, _name(crew), memory, ", ".join(runs)


def _name(crew: Crew) -> str:
    return f"{crew.cluster.host}:{crew.cluster.pid}"
