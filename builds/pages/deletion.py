"""What a deletion would take away, told before it is asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import Model, QuerySet, TextField
from django.db.models.functions import Cast

from builds import services
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.pages.build import consumers_part
from builds.services.selections import MOST

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COUNTED = 100_000  # rows of a kind; beyond that it is "more than"
AT_ONCE = 1_000  # builds that a form names by their numbers; more are a stored choice
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


def bulk_deletion_page(builds: QuerySet[Build], user: User | None) -> dict[str, Any]:
    """Return what a deletion of many builds would take away.

    A few are named in the form by their numbers. Of more a choice is stored, so that what is
    confirmed is what goes, however many there are.
    """
    ordered = builds.order_by("pk").values_list("pk", flat=True)
    numbers = list(ordered[: AT_ONCE + 1])
    choice = None
    if len(numbers) > AT_ONCE:
        found = ordered[: MOST + 1].iterator()
        choice = services.choose_builds(builds=found, requested_by=user)
    count = choice.count if choice else len(numbers)
    chosen: Any = builds.order_by().values("pk") if choice else numbers
    functions = _functions(chosen)
    listed = Build.objects.filter(pk__in=chosen).select_related("job").newest_first()[:LISTED]
    return {
        "choice": choice,
        "numbers": ",".join(map(str, reversed(numbers))),
        "count": count,
        "too_many": count == MOST,
        "most": MOST,
        "kept": Build.objects.filter(pk__in=chosen, keep=True).count(),
        "listed": listed,
        "not_listed": max(count - LISTED, 0),
        "without_function": count - functions.total(),
        "functions": sorted(functions.items()),
        "log_count": _count(LogMessage.objects.filter(build__in=chosen)),
        "used": _used(chosen),
    }


def _functions(chosen: Any) -> Counter[str]:
    """Count the cleanup functions that builds name; only configurations that may are read."""
    payloads = BuildPayload.objects.annotate(text=Cast("config", TextField()))
    naming = payloads.filter(build__in=chosen, text__contains='"cleanup')
    configs = naming.values_list("config", flat=True).iterator(chunk_size=1_000)
    return Counter(name for config in configs if (name := services.cleanup_name(config)))


def read_numbers(text: str) -> list[int]:
    """Return the numbers of builds that a form sent, at most as many as go at once."""
    parts = text.split(",")[:AT_ONCE]
    return [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 19]


def _used(numbers: Any) -> int:
    """Return how many of these builds were used by others that stay."""
    links = BuildDependency.objects.filter(dep_build__in=numbers).exclude(build__in=numbers)
    return links.order_by().values("dep_build").distinct().count()


def _count(rows: QuerySet[Any, Any] | QuerySet[Model]) -> str:
    count = rows.order_by().values("pk")[: COUNTED + 1].count()
    return f"{count:,}" if count <= COUNTED else f"more than {COUNTED:,}"
