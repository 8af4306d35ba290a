"""Drain clusters, as before they are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep
from typing import Any

from django.core.management.base import CommandParser

from builds import services
from builds.crews import Crew, crews, with_now
from builds.presentation import crew_row
from builds.upkeep_models import Cluster
from jobcontrol.exceptions import InvalidRequest
from jobcontrol_site.commands import Command as BaseCommand
from jobcontrol_site.lookup import find_cluster

LOOK_SECONDS = 1.0


class Command(BaseCommand):
    """Let the workers of clusters take no more builds; those that run go on to their end."""

    help = "Let the workers of a cluster take no more builds, or take it up again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the clusters, and what to do with them."""
        super().add_arguments(parser)
        parser.add_argument(
            "clusters", metavar="HOST:PID", nargs="+", help="as 'list_workers' names them"
        )
        parser.add_argument("--undo", action="store_true", help="let them take builds again")
        parser.add_argument(
            "--wait", action="store_true", help="return only when nothing runs there any more"
        )

    def run(self, **options: Any) -> None:
        """Drain all of them, or none if one is not there; answer with each as it is then."""
        if options["undo"] and options["wait"]:
            raise InvalidRequest(
                "--undo and --wait don't go together: there is nothing to wait for."
            )
        names = [find_cluster(name).pk for name in dict.fromkeys(options["clusters"])]
        for cluster in Cluster.objects.filter(pk__in=names):
            if options["undo"]:
                services.undrain_cluster(cluster=cluster)
            else:
                services.drain_cluster(cluster=cluster)
        found = _look(names)
        while options["wait"] and any(crew.state == "draining" for crew in found):
            sleep(LOOK_SECONDS)
            found = _look(names)
        self.emit([crew_row(crew) for crew in found], human=lambda _: _text(found))


def _look(names: Sequence[str]) -> list[Crew]:
    """Return those of the clusters that have not been stopped meanwhile."""
    return crews(with_now(Cluster.objects.filter(pk__in=names)))


def _text(found: list[Crew]) -> str:
    if not found:
        return "They have been stopped meanwhile."
    return "\n".join(f"{_name(crew)}: {_SAID[crew.state]}" for crew in found)


def _name(crew: Crew) -> str:
    return f"{crew.cluster.host}:{crew.cluster.pid}"


_SAID = {
    "active": "takes builds.",
    "draining": "takes no more builds; what runs there goes on.",
    "drained": "takes no more builds, and nothing runs there.",
    "lost": "was not heard of lately.",
}
