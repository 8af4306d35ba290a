"""What a build of a plan waits for, what waits for it, and what it failed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from builds.models import Build, BuildDependency

SHOWN = 50
LINKS_READ = 20_000


def plan_part(build: Build, awaited: Sequence[Build]) -> dict[str, Any]:
    """Return what the page of a build says of its plan; nothing for one without.

    `awaited` are the builds that it waits for, see `waited_for`.
    """
    if build.plan_id is None:
        return {}
    return {
        "waited_for": awaited,
        "waiting_users": _waiting_users(build),
        "waiting_count": len(_all_waiting_users(build)),
        "failed_inputs": _failed_inputs(build),
        "failed_at": _where_it_began(build),
    }


def waited_for(build: Build) -> list[Build]:
    """Return the builds whose end it waits for."""
    if build.status != Build.Status.WAITING:
        return []
    used = Build.objects.filter(consumers__build=build, status__in=Build.UNFINISHED)
    # Asked for by each refresh: without the large texts of the jobs.
    found = used.select_related("job").only("status", "job__title")
    return list(found.order_by("pk")[:SHOWN])


def _waiting_users(build: Build) -> list[Build]:
    users = Build.objects.waiting().filter(inputs__dep_build=build)
    return list(users.select_related("job").order_by("pk")[:SHOWN])


def _all_waiting_users(build: Build) -> set[int]:
    """Return all that would be cancelled with the build: what waits for it, directly or not."""
    if build.finished:
        return set()
    links = BuildDependency.objects.filter(
        build__plan=build.plan_id, build__status=Build.Status.WAITING
    )
    users: dict[int, list[int]] = {}
    for user, used in links.values_list("build_id", "dep_build_number")[:LINKS_READ]:
        users.setdefault(used, []).append(user)
    found: set[int] = set()
    pending = deque([build.pk])
    while pending:
        for user in users.get(pending.popleft(), ()):
            if user not in found:
                found.add(user)
                pending.append(user)
    return found


def _failed_inputs(build: Build) -> list[Build]:
    """Return the builds that failed and took this one with them."""
    if build.failure_kind != Build.FailureKind.UPSTREAM_FAILED:
        return []
    used = Build.objects.filter(consumers__build=build, status=Build.Status.FAILED)
    return list(used.select_related("job").order_by("pk")[:SHOWN])


def _where_it_began(build: Build) -> list[Build]:
    """Return the builds that failed by themselves and took this one with them over others."""
    if build.failure_kind != Build.FailureKind.UPSTREAM_FAILED:
        return []
    kind = Build.FailureKind.UPSTREAM_FAILED
    links = BuildDependency.objects.filter(
        build__plan=build.plan_id, build__failure_kind=kind, dep_build__status=Build.Status.FAILED
    ).values_list("build_id", "dep_build_id", "dep_build__failure_kind")
    used: dict[int, list[tuple[int, str]]] = {}
    for user, number, its_kind in links[:LINKS_READ]:
        used.setdefault(user, []).append((number, its_kind))
    seen: set[int] = set()
    origins: set[int] = set()
    pending = deque([build.pk])
    while pending:
        user = pending.popleft()
        for number, its_kind in used.get(user, ()):
            if its_kind != kind:
                if user != build.pk:
                    origins.add(number)
            elif number not in seen:
                seen.add(number)
                pending.append(number)
    builds = Build.objects.filter(pk__in=sorted(origins)[:SHOWN])
    return list(builds.select_related("job").order_by("pk"))
