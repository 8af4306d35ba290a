"""Whether all is well: `/healthz` for load balancers and monitors, `qcluster --check` for services.

What `/healthz` tells anybody who asks: no names, no texts of errors. It costs one small query.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import BooleanField as Bool
from django.db.models import ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from builds import services
from builds.database_time import seconds_ago
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobs import registry
from jobs.config import ConfigError

OK = "ok"


@dataclass(frozen=True)
class Beat:
    """The last word of any supervisor: how long ago it came, in seconds of database time.

    `is_drained` says that all that live were asked to take no builds.
    """

    age: float | None = None
    is_alive: bool = False
    is_drained: bool = False
    has_trouble: bool = False


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when pages can be served, else 503; with `?worker` also builds have to run."""
    registry_says = _registry()
    database, beat = OK, Beat()
    try:
        beat = last_beat()
    except (DatabaseError, InterfaceError):
        connection.close()
        database = "away"
    is_well = database == OK and registry_says != "none"
    if "worker" in request.GET:
        is_well = is_well and beat.is_alive and not beat.is_drained
    broker = ("trouble" if beat.has_trouble else OK) if beat.is_alive else "unknown"
    reply: dict[str, Any] = {
        "status": OK if is_well else "failing",
        "database": database,
        "registry": registry_says,
        "supervisor": _supervisor(beat),
        "supervisor_age": None if beat.age is None else round(beat.age, 1),
        "broker": broker,
    }
    return JsonResponse(reply, status=200 if is_well else 503)


def last_beat() -> Beat:
    """Return what the supervisor that was heard of last said, of those that take builds if any."""
    is_taking = Q(drain_requested=None, last_seen__gte=seconds_ago(services.silence_allowed()))
    clusters = Cluster.objects.annotate(now=Now(), is_taking=ExpressionWrapper(is_taking, Bool()))
    newest = clusters.order_by("-is_taking", "-last_seen").first()
    if newest is None:
        return Beat()
    age: timedelta = newest.now - newest.last_seen
    is_alive = age.total_seconds() < services.silence_allowed()
    return Beat(
        max(age.total_seconds(), 0.0),
        is_alive,
        is_drained=is_alive and newest.drain_requested is not None,
        has_trouble=bool(newest.trouble),
    )


def _supervisor(beat: Beat) -> str:
    if not beat.is_alive:
        return "none"
    return "drained" if beat.is_drained else OK


def check_this_host() -> tuple[bool, str]:
    """Say whether a cluster of this host (or container) lives and beats, and in words how it is."""
    try:
        alive = set(services.live_clusters().values_list("pk", flat=True))
        every = list(Cluster.objects.annotate(now=Now()).order_by("-last_seen"))
    except (DatabaseError, InterfaceError) as error:
        return False, f"the database does not answer: {' '.join(str(error).split())}"
    ours = [found for found in every if _is_here(found)]
    if not ours:
        return False, "no worker of this host has said that it lives: 'worker' starts one."
    # One that was killed a moment ago may have been heard of after one that lives.
    newest = next((one for one in ours if one.pk in alive and _is_running(one)), ours[0])
    age = (newest.now - newest.last_seen).total_seconds()
    heard = f"last heard of {max(age, 0.0):.1f}s ago"
    if not _is_running(newest):
        return False, f"the worker of this host (process {newest.pid}) is gone, {heard}."
    if newest.pk not in alive:
        return False, f"the worker of this host (process {newest.pid}) is silent, {heard}."
    trouble = f", but {newest.trouble}" if newest.trouble else "."
    drained = "" if newest.drain_requested is None else " and takes no builds (it is drained)"
    workers = f"process {newest.pid} with {newest.workers} workers"
    return True, f"{workers} lives{drained}, {heard}{trouble}"


def _is_running(cluster: Cluster) -> bool:
    identity = WorkerIdentity.parse(cluster.identity)
    return identity is not None and identity.is_alive()


def _is_here(cluster: Cluster) -> bool:
    identity = WorkerIdentity.parse(cluster.identity)
    return identity is not None and identity.is_here


def _registry() -> str:
    """Say how the configuration file is: `mistakes` when an older, good one is in use."""
    try:
        registry.configuration()
    except ConfigError:
        return "none"
    return "mistakes" if registry.problems() else OK
