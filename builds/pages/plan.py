"""Everything about one plan: its builds in order, what they wait for, and their graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Max, Q
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from builds import context_processors
from builds.graphs import MAX_NODES, SIGNS, Graph, Node
from builds.models import Build, BuildDependency, BuildQuerySet
from builds.pages import refreshing
from builds.pages.graph_picture import picture_part
from builds.pages.tabs import tab_of_plan
from builds.plan_models import Plan
from builds.plan_status import PlanStatus, plan_statuses
from builds.planning import Dependencies
from builds.status import reason
from builds.waiting import reasons

LISTED = 100  # builds of a page
FOLLOWERS = 100
INPUTS_READ = 20_000
DRAWN = 200  # builds up to which the picture is drawn unasked; that of more is hardly to be read
NAMED = 5  # builds that one waits for

REUSED = "reused"

_FIRST = {
    Dependencies.MISSING: "what is missing first",
    Dependencies.OUTDATED: "what is missing or outdated first",
    Dependencies.ALL: "all dependencies first",
}


@dataclass
class Line:
    """A build of a plan, for a row of its table."""

    build: Build
    superseded_by: int | None = None
    waits_for: list[BuildDependency] = field(default_factory=list)
    why_waits: str = ""
    duration: float | None = None
    reason: str = ""

    @property
    def stopped(self) -> str:
        """What a cancel has come to; "" for a build that nobody cancelled, or that ended before."""
        if not self.build.cancel_requested:
            return ""
        if not self.build.finished:
            return "told to stop"
        return "cancelled" if self.build.status == Build.Status.CANCELLED else ""

    @property
    def waiting_more(self) -> int:
        """How many of the builds that it waits for are not named."""
        return max(len(self.waits_for) - NAMED, 0)


class Look:
    """What a plan's page and its stamp are both made from, looked up once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def followers(self) -> list[Plan]:
        """The plans that resume it."""
        return list(self.plan.resumed_by.order_by("pk")[:FOLLOWERS])


def plan_page(look: Look, asked: QueryDict, *, sees_builds: bool) -> dict[str, Any]:
    """Return everything about a plan, as plain values for its template.

    The picture leads to builds, and says why they failed, if these are the reader's to see.
    """
    plan = look.plan
    status = plan_statuses([plan])[plan.pk]
    page = Paginator(_builds(plan), LISTED).get_page(asked.get("page"))
    lines = _lines(plan, page)
    _say_what_they_wait_for(lines)
    return {
        "plan": plan,
        "status": status,
        "tab": tab_of_plan(plan, status),
        "refresh_seconds": refreshing.of_plan(status),
        "counts": counts_in_words(status),
        "options": options_in_words(plan.wish),
        "lines": lines,
        "lines_page": page,
        "lines_pages": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "is_resumable": status.finished and status.state not in ("success", "gone"),
        "followers": look.followers,
        "legend": _legend(status),
        **_picture(plan, status, asked, sees_builds=sees_builds),
    }


def options_in_words(wish: Mapping[str, Any]) -> list[str]:
    """Return what was asked for, in words."""
    found = []
    first = wish.get("dependencies", "")
    if first in _FIRST:
        found.append(_FIRST[Dependencies(first)])
    if wish.get("build_now"):
        found.append(f"{_names(wish['build_now'])} now")
    if wish.get("rebuild_all"):
        found.append("all jobs that use it after it")
    elif wish.get("rebuild"):
        found.append(f"{_names(wish['rebuild'])} after it")
    used = wish.get("dependency_builds") or {}
    if used:
        builds = [f"build #{number} of {name}" for name, number in used.items()]
        found.append(f"with {_names(builds)}")
    if wish.get("args") is not None or wish.get("kwargs") is not None:
        found.append("with other arguments")
    return found


def counts_in_words(status: PlanStatus) -> str:
    """Return how many builds stand where: `2 successful, 1 running`."""
    known = [(status.counts.get(name, 0), str(label)) for name, label in Build.Status.choices]
    known.append((status.deleted, "deleted"))
    return ", ".join(f"{number:,} {label}" for number, label in known if number)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = len(names) - NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _legend(status: PlanStatus) -> list[dict[str, Any]]:
    """Return the states that the picture shows, with their signs."""
    return [
        {"state": str(label), "sign": SIGNS.get(str(label), ""), "name": str(label), "number": None}
        for value, label in Build.Status.choices
        if status.counts.get(value)
    ]


# --- The table ------------------------------------------------------------------------------------


def _builds(plan: Plan) -> BuildQuerySet:
    """Return the builds in their order, to which retries are added at the end."""
    large = ("job__config", "job__config_text", "job__docs", "job__notes")
    related = plan.builds.select_related("job", "cancel_requested_by")
    return related.defer(*large).order_by("pk")


def _lines(plan: Plan, builds: Iterable[Build]) -> list[Line]:
    found = list(builds)
    own = plan.builds.filter(job__in={build.job_id for build in found}).order_by()
    newest = dict(own.values("job").annotate(newest=Max("pk")).values_list("job", "newest"))
    now = timezone.now()
    return [
        Line(
            build=build,
            superseded_by=newer if (newer := newest.get(build.job_id, 0)) > build.pk else None,
            duration=build.duration(now),
            reason=reason(build),
        )
        for build in found
    ]


def _say_what_they_wait_for(lines: Sequence[Line]) -> None:
    waiting = [line for line in lines if not line.build.finished]
    inputs = _inputs(Q(build__in=[line.build.pk for line in waiting])) if waiting else {}
    queued = [line.build for line in waiting if line.build.status != Build.Status.WAITING]
    limits = {build.job_id: build.job.concurrency for build in queued}
    why = reasons(queued, limits, context_processors.live_clusters())
    for line in waiting:
        line.why_waits = why.get(line.build.pk, "")
        line.waits_for = [one for one in inputs.get(line.build.pk, ()) if _is_unfinished(one)]


def _inputs(wanted: Q) -> dict[int, list[BuildDependency]]:
    """Return what builds use, by number."""
    links = BuildDependency.objects.filter(wanted).order_by("build", "pk")
    found: dict[int, list[BuildDependency]] = {}
    only = ("build", "job__title", "dep_build_number", "dep_build__status", "dep_build__plan")
    for link in links.select_related("dep_build", "job").only(*only)[:INPUTS_READ]:
        found.setdefault(link.build_id, []).append(link)
    return found


def _is_unfinished(link: BuildDependency) -> bool:
    return link.dep_build is not None and not link.dep_build.finished


# --- The picture ----------------------------------------------------------------------------------


def _picture(
    plan: Plan, status: PlanStatus, asked: QueryDict, *, sees_builds: bool
) -> dict[str, Any]:
    """Return the picture of the newest build of each job and of what they use, or why none."""
    if status.total > MAX_NODES:
        text = f"More than {MAX_NODES:,} builds are too many for a picture: see the table."
        return {"no_picture": text}
    if status.total > DRAWN and asked.get("graph") != "all":
        return {"picture_of": status.total}
    newest = plan.builds.order_by().values("job").annotate(newest=Max("pk")).values("newest")
    current = _builds(plan).filter(pk__in=newest)
    nodes = {build.pk: _node(build, sees_builds=sees_builds) for build in current}
    uses = []
    for number, links in _inputs(Q(build__plan=plan)).items():
        if number not in nodes:
            continue  # it was tried again
        for link in links:
            if link.dep_build_number not in nodes:
                nodes[link.dep_build_number] = _reused(link)
            uses.append((_name(link.dep_build_number), _name(number)))
    shown = nodes.values() if sees_builds else [replace(one, url="") for one in nodes.values()]
    return picture_part(Graph.of(shown, uses), asked, instead="See the table.")


def _node(build: Build, *, sees_builds: bool) -> Node:
    why = reason(build) if sees_builds else ""
    return Node(
        id=_name(build.pk),
        title=build.job.label,
        status=build.status.lower(),
        url=reverse("admin:builds_build_change", args=[build.pk]),
        protected=build.job.protected,
        remarks=tuple(filter(None, [build.plan_reason, why])),
    )


def _reused(link: BuildDependency) -> Node:
    url = reverse("admin:builds_build_change", args=[link.dep_build_number])
    return Node(id=_name(link.dep_build_number), title=link.job.label, status=REUSED, url=url)


def _name(number: int) -> str:
    return f"#{number}"
