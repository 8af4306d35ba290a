"""Which build of a dependency is used, as people and programs write it: 12, `latest` or `now`."""

from __future__ import annotations

from collections.abc import Mapping

from builds import services
from builds.planning import Dependencies, Options
from jobcontrol.exceptions import InvalidRequest, MissingDependencies
from jobs.models import Job, JobDependency

LATEST = "latest"
NOW = "now"


def read(job: Job, uses: Mapping[str, int | str]) -> tuple[dict[str, int], frozenset[str]]:
    """Return the builds to use by dependency, and the dependencies that are to be built now.

    `latest` is the latest success at this moment, also where the file pins another one or the
    dependency itself is outdated. Raises InvalidRequest for what is no dependency, and
    MissingDependencies where there is no success.
    """
    if not uses:
        return {}, frozenset()
    direct = set(JobDependency.objects.filter(job=job).values_list("depends_on_id", flat=True))
    strangers = [name for name in uses if name not in direct]
    if strangers:
        names = ", ".join(repr(name) for name in strangers)
        raise InvalidRequest(f"job {job.pk!r} does not depend on {names}.")
    wanted = [name for name, use in uses.items() if use == LATEST]
    newest = services.latest_successful_builds(wanted)
    missing = [name for name in wanted if name not in newest]
    if missing:
        raise MissingDependencies(job.pk, missing)
    numbers = {name: use for name, use in uses.items() if isinstance(use, int)}
    return numbers | newest, frozenset(name for name, use in uses.items() if use == NOW)


def options(
    *, dependencies: str, build_now: frozenset[str], rebuild: bool | list[str] | tuple[str, ...]
) -> Options:
    """Return what is built beside a job; `rebuild` are the jobs that use it, True is all.

    Raises InvalidRequest for a `dependencies` that there is not.
    """
    if dependencies not in list(Dependencies):  # no set: it may be anything at all
        raise InvalidRequest(
            f"dependencies must be {', '.join(Dependencies)}, not {dependencies!r}."
        )
    return Options(
        dependencies=Dependencies(dependencies),
        rebuild=frozenset() if isinstance(rebuild, bool) else frozenset(rebuild),
        rebuild_all=rebuild is True,
        build_now=build_now,
    )
