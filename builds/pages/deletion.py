"""What a deletion would take away, told before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Model, QuerySet

from builds import services
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.pages.build import consumers_part

COUNTED = 100_000  # rows of a kind; beyond that it is "more than"
AT_ONCE = 1_000  # builds of one bulk deletion
LISTED = 100


def deletion_page(build: Build) -> dict[str, Any]:
    """Return what goes with a build, who used it, and why it can't be deleted now, if so."""
    return {
        "build": build,
        "cleanup_function": services.cleanup_function(build),
        "why_not": services.why_in_use(build),
        "has_retval": BuildPayload.objects.filter(pk=build.pk, retval__isnull=False).exists(),
        "log_count": _count(LogMessage.objects.filter(build=build)),
        "progress_count": _count(BuildProgress.objects.filter(build=build)),
        **consumers_part(build),
    }


def bulk_deletion_page(builds: QuerySet[Build]) -> dict[str, Any]:
    """Return what a deletion of many builds would take away."""
    numbers = list(builds.order_by("-pk").values_list("pk", flat=True)[: AT_ONCE + 1])
    chosen = numbers[:AT_ONCE]
    functions = services.cleanup_functions(chosen)
    named: dict[str, int] = {}
    for number in chosen:
        name = functions.get(number, "")
        named[name] = named.get(name, 0) + 1
    listed = Build.objects.filter(pk__in=chosen[:LISTED]).select_related("job").newest_first()
    return {
        "numbers": ",".join(map(str, chosen)),
        "count": len(chosen),
        "too_many": len(numbers) > AT_ONCE,
        "at_once": AT_ONCE,
        "listed": listed,
        "not_listed": max(len(chosen) - LISTED, 0),
        "without_function": named.pop("", 0),
        "functions": sorted(named.items()),
        "log_count": _count(LogMessage.objects.filter(build__in=chosen)),
        "used": _used(chosen),
    }


def read_numbers(text: str) -> list[int]:
    """Return the numbers of builds that a form sent, at most as many as go at once."""
    parts = text.split(",")[:AT_ONCE]
    return [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 19]


def _used(numbers: Sequence[int]) -> int:
    """Return how many of these builds were used by others that stay."""
    links = BuildDependency.objects.filter(dep_build__in=numbers).exclude(build__in=numbers)
    return links.order_by().values("dep_build").distinct().count()


def _count(rows: QuerySet[Any, Any] | QuerySet[Model]) -> str:
    count = rows.order_by().values("pk")[: COUNTED + 1].count()
    return f"{count:,}" if count <= COUNTED else f"more than {COUNTED:,}"
