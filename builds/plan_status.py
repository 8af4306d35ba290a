"""How plans stand: said by their builds alone, in one query for any number of plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Max

from builds.models import Build
from builds.plan_models import Plan
from jobcontrol.exceptions import BuildStateError

RUNNING = "running"
WAITING = "waiting"
FAILED = "failed"
CANCELLED = "cancelled"
SUCCESS = "success"
GONE = "gone"

MADE = "builds"  # where a plan keeps how many it made


@dataclass(frozen=True)
class PlanStatus:
    """`state` is running, waiting, failed, cancelled, success, or gone when no build is left.

    `counts` has the builds by status; what failed and was tried again is not counted. `made` is how
    many there were at first.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    made: int = 0

    @property
    def state(self) -> str:
        """Where the plan stands as a whole."""
        if not self.counts:
            return GONE
        if self.counts.get(Build.Status.RUNNING):
            return RUNNING
        if not self.finished:
            return WAITING
        if self.counts.get(Build.Status.FAILED):
            return FAILED
        return CANCELLED if self.counts.get(Build.Status.CANCELLED) else SUCCESS

    @property
    def finished(self) -> bool:
        """Whether none of its builds can change any more."""
        return not any(self.counts.get(status) for status in Build.UNFINISHED)

    @property
    def total(self) -> int:
        """How many builds it has."""
        return sum(self.counts.values())

    @property
    def deleted(self) -> int:
        """How many of its builds are gone: whether those succeeded is not known any more."""
        return max(self.made - self.total, 0)


def status_of(builds: Iterable[Build]) -> PlanStatus:
    """Return how a plan stands, given its current builds (see `services.current_builds`)."""
    return PlanStatus(Counter(build.status for build in builds))


def refuse_ended(plan: Plan) -> None:
    """Raise BuildStateError for a plan that has ended otherwise than cancelled."""
    status = plan_statuses([plan])[plan.pk]
    if status.finished and status.state != CANCELLED:
        raise BuildStateError(f"plan {plan.pk} has ended ({status.state}) and can't be cancelled.")


def plan_statuses(plans: Sequence[Plan]) -> dict[int, PlanStatus]:
    """Return how each plan stands, by number."""
    builds = Build.objects.filter(plan__in=plans).order_by()
    newest = builds.values("plan", "job").annotate(newest=Max("pk")).values("newest")
    current = Build.objects.filter(pk__in=newest).order_by()
    found: dict[int, dict[str, int]] = {plan.pk: {} for plan in plans}
    for number, status, count in current.values_list("plan", "status").annotate(Count("pk")):
        found[number][status] = count
    return {plan.pk: PlanStatus(found[plan.pk], plan.wish.get(MADE, 0)) for plan in plans}
