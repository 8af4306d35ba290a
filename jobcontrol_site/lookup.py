"""What commands are asked about, found by id, or a clear word about what is there."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from builds.crews import with_now
from builds.models import Build
from builds.plan_models import Plan
from builds.upkeep_models import Cluster
from jobcontrol.exceptions import InvalidRequest, NotFound
from jobcontrol.utils.text import clean_text
from jobs.models import Job

BIGGEST_ID = 2**63 - 1


def find_job(job_id: str, *, lister: str = "'list_jobs'") -> Job:
    """Return the job. Raises NotFound, which names the nearest job there is, or who lists them."""
    # Bytes of an argument that are no UTF-8 come as lone surrogates: no database holds such an id.
    is_storable = clean_text(job_id) == job_id
    job = Job.objects.filter(pk=job_id).first() if is_storable else None
    if job is None:
        names = Job.objects.active().values_list("pk", flat=True)
        near = get_close_matches(job_id, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; {lister} lists what there is."
        raise NotFound(f"there is no job {job_id!r}{hint}")
    return job


def find_builds(numbers: Sequence[int]) -> list[Build]:
    """Return the builds in the given order. Raises NotFound naming all that are not there."""
    asked = [number for number in numbers if 0 < number <= BIGGEST_ID]
    found = Build.objects.select_related("job").in_bulk(asked)
    missing = [str(number) for number in dict.fromkeys(numbers) if number not in found]
    if missing:
        raise NotFound(f"there is no build {', '.join(missing)}")
    return [found[number] for number in dict.fromkeys(numbers)]


def find_plan(number: int) -> Plan:
    """Return the plan. Raises NotFound."""
    plan = None
    if 0 < number <= BIGGEST_ID:
        plan = Plan.objects.select_related("job", "requested_by").filter(pk=number).first()
    if plan is None:
        raise NotFound(f"there is no plan {number}")
    return plan


def find_build(number: int) -> Build:
    """Return the build. Raises NotFound."""
    return find_builds([number])[0]


def find_cluster(name: str, *, lister: str = "'list_workers'") -> Cluster:
    """Return the cluster with this id, or with this HOST:PID.

    Raises NotFound, and InvalidRequest where hosts of the same name make it ambiguous.
    """
    clusters = with_now(Cluster.objects.all())
    is_storable = clean_text(name) == name
    found = list(clusters.filter(pk=name)) if is_storable else []
    host, _, pid = name.rpartition(":")
    if not found and is_storable and pid.isascii() and pid.isdecimal() and len(pid) < 10:
        found = list(clusters.filter(host=host, pid=int(pid))[:10])
    if not found:
        raise NotFound(f"there is no cluster {name!r}; {lister} lists what there is.")
    if len(found) > 1:
        ids = ", ".join(cluster.pk for cluster in found)
        raise InvalidRequest(f"{name!r} may be any of {ids}: name it by its whole id.")
    return found[0]
