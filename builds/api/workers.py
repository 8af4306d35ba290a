"""Workers: the clusters that live or lately did, and draining one."""

from __future__ import annotations

from typing import Annotated

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from builds import history, services
from builds.api import schemas
from builds.api.auth import require, user_of
from builds.api.jobs import FAR
from builds.api.replies import LINK, answer, refusals, with_next
from builds.crews import crews, with_now
from builds.presentation import crew_row
from builds.upkeep_models import Cluster
from jobcontrol_site import lookup

router = Router(tags=["workers"])

MAX_CLUSTERS = 100  # per page
LISTER = "GET /api/workers/"
MAY_SEE = ("builds.view_cluster", "builds.view_build")


@router.get("", include_in_schema=False)
@router.get(
    "/",
    response={200: list[schemas.Cluster], **refusals()},
    openapi_extra=LINK,
    summary="List clusters with their workers",
)
def list_workers(
    request: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=MAX_CLUSTERS)] = MAX_CLUSTERS,
    offset: Annotated[int, Query(ge=0, le=FAR)] = 0,
) -> HttpResponse:
    """Return the clusters by host, and what each of their workers runs."""
    require(request, *MAY_SEE)
    found = list(with_now(Cluster.objects.all())[offset : offset + limit + 1])
    more = {"offset": offset + limit} if len(found) > limit else None
    return with_next(request, answer([crew_row(crew) for crew in crews(found[:limit])]), more)


@router.post(
    "/{cluster_id}/drain",
    response={200: schemas.Cluster, **refusals(404)},
    summary="Drain a cluster",
)
def drain_cluster(request: HttpRequest, cluster_id: str) -> HttpResponse:
    """Have the workers of a cluster take no new build; those that run go on to their end.

    It is drained once its `state` says so. The id may also be `HOST:PID`.
    """
    return _drain(request, cluster_id, drain=True)


@router.post(
    "/{cluster_id}/undrain",
    response={200: schemas.Cluster, **refusals(404)},
    summary="Take a cluster up again",
)
def undrain_cluster(request: HttpRequest, cluster_id: str) -> HttpResponse:
    """Let the workers of a cluster take builds again."""
    return _drain(request, cluster_id, drain=False)


def _drain(request: HttpRequest, cluster_id: str, *, drain: bool) -> HttpResponse:
    require(request, *MAY_SEE, "builds.drain_cluster")
    cluster = lookup.find_cluster(cluster_id, lister=LISTER)
    with transaction.atomic():
        if drain:
            is_new = services.drain_cluster(cluster=cluster, requested_by=user_of(request))
        else:
            is_new = services.undrain_cluster(cluster=cluster)
        if is_new:
            history.note(request.user, cluster, history.DRAINED if drain else history.UNDRAINED)
    found = lookup.find_cluster(cluster.pk, lister=LISTER)
    return answer(crew_row(crews([found])[0]))
