"""Which builds a new build uses: chosen, pinned in the file, or the latest successes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import OuterRef, Subquery

from builds.models import Build, BuildQuerySet
from builds.status import pinned_builds
from jobcontrol.exceptions import (
    BuildStateError,
    InvalidRequest,
    JobControlException,
    MissingDependencies,
)
from jobs.models import Job, JobDependency

_CHUNK = 5_000  # numbers in one statement


def latest_successful_builds(job_ids: Iterable[str]) -> dict[str, int]:
    """Return the newest successful, not skipped build of each job that has one."""
    builds: BuildQuerySet = Build.objects.filter(job=OuterRef("pk")).order_by()
    newest = builds.usable().newest_first().values("pk")[:1]
    # Job by job, so that each is one step into an index: a group reads all builds of its job.
    jobs = Job.objects.filter(pk__in=list(job_ids)).order_by().annotate(newest=Subquery(newest))
    return {name: number for name, number in jobs.values_list("pk", "newest") if number}


def choose_inputs(job: Job, chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the build to use for each dependency: chosen, pinned in the file, or the latest."""
    (found,) = inputs_or_refusals([(job, chosen)])
    if isinstance(found, JobControlException):
        raise found
    return found


def inputs_or_refusals(
    wishes: Sequence[tuple[Job, Mapping[str, int]]],
) -> list[dict[str, int] | JobControlException]:
    """Return `choose_inputs` of each job and what is chosen for it, or the error that it raises.

    Three queries, however many jobs.
    """
    needed: dict[str, list[str]] = {job.pk: [] for job, _ in wishes}
    links = JobDependency.objects.filter(job__in=list(needed)).order_by("position")
    for job_id, name in links.values_list("job_id", "depends_on_id"):
        needed[job_id].append(name)
    pins = []
    for job, chosen in wishes:
        own = pinned_builds(job).items()
        pins.append({name: number for name, number in own if name in needed[job.pk]} | {**chosen})
    usable = usable_builds({number for one in pins for number in one.values()})
    unpinned = {
        name
        for (job, _), one in zip(wishes, pins, strict=True)
        for name in needed[job.pk]
        if name not in one
    }
    latest = latest_successful_builds(unpinned)
    found: list[dict[str, int] | JobControlException] = []
    for (job, chosen), one in zip(wishes, pins, strict=True):
        refusal = _refusal(job, needed[job.pk], chosen, one, usable=usable, latest=latest)
        builds = {**latest, **one}
        found.append(refusal or {name: builds[name] for name in needed[job.pk]})
    return found


def _refusal(
    job: Job,
    needed: Sequence[str],
    chosen: Mapping[str, int],
    pins: Mapping[str, int],
    *,
    usable: Mapping[int, str],
    latest: Mapping[str, int],
) -> JobControlException | None:
    """Return what is wrong with the inputs of a job, if anything is."""
    strangers = [name for name in chosen if name not in needed]
    if strangers:
        names = ", ".join(repr(name) for name in strangers)
        return InvalidRequest(f"job {job.id!r} does not depend on {names}.")
    wrong = wrong_pins(job, pins, usable)
    if wrong:
        return InvalidRequest(wrong)
    missing = [name for name in needed if name not in pins and name not in latest]
    return MissingDependencies(job.id, missing) if missing else None


def usable_builds(numbers: Iterable[int]) -> dict[int, str]:
    """Return the jobs of those builds that may be used as input, by number."""
    usable = Build.objects.usable().filter(pk__in=list(numbers))
    return dict(usable.values_list("pk", "job_id"))


def wrong_pins(job: Job, pins: Mapping[str, int], usable: Mapping[int, str]) -> str:
    """Say which pins can't be used, given what `usable_builds` said of all; "" when none."""
    wrong = [
        f"build #{number} is not a successful build of {name!r}"
        for name, number in pins.items()
        if usable.get(number) != name
    ]
    return f"job {job.id!r}: " + "; ".join(wrong) + "." if wrong else ""


def lock_inputs(wanted: Iterable[tuple[Job, Mapping[str, int]]]) -> None:
    """Keep the inputs of jobs from being deleted until their builds are recorded as needing them.

    In the caller's transaction. Raises BuildStateError when one went since it was chosen.
    """
    wishes = [(job, inputs) for job, inputs in wanted if inputs]
    locked = lock_usable({number for _, inputs in wishes for number in inputs.values()})
    for job, inputs in wishes:
        gone = [f"#{used} of {name!r}" for name, used in inputs.items() if used not in locked]
        if gone:
            raise BuildStateError(
                f"job {job.id!r} can't be built with build {', '.join(gone)}: deleted meanwhile."
            )


def lock_usable(numbers: Collection[int]) -> set[int]:
    """Lock those of these builds that may be used, and return their numbers."""
    found: set[int] = set()
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _CHUNK):
        usable = Build.objects.usable().filter(pk__in=ordered[start : start + _CHUNK])
        locked = usable.order_by("pk").select_for_update(no_key=True)
        found.update(locked.values_list("pk", flat=True))
    return found
