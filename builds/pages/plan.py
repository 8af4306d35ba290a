"""Everything about one plan: its builds in order, what they wait for, and their graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Max
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from builds.graphs import MAX_NODES, SIGNS, Graph, Node
from builds.models import Build, BuildDependency
from builds.pages import refreshing
from builds.pages.graph_picture import picture_part
from builds.pages.tabs import tab_of_plan
from builds.plan_models import Plan
from builds.plan_status import PlanStatus, plan_statuses
from builds.planning import Dependencies
from builds.status import reason
from builds.waiting import reasons

LISTED = 1_000  # builds, and what they use
INPUTS_READ = 20_000
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


def plan_page(plan: Plan, asked: QueryDict) -> dict[str, Any]:
    """Return everything about a plan, as plain values for its template."""
    status = plan_statuses([plan])[plan.pk]
    lines = _lines(plan)
    inputs = _inputs(plan)
    why = reasons(line.build for line in lines if line.build.status != Build.Status.WAITING)
    for line in lines:
        line.why_waits = why.get(line.build.pk, "")
        used = inputs.get(line.build.pk, ())
        if not line.build.finished:
            line.waits_for = [one for one in used if _is_unfinished(one)]
    return {
        "plan": plan,
        "status": status,
        "tab": tab_of_plan(plan, status),
        "refresh_seconds": refreshing.of_plan(status),
        "counts": counts_in_words(status),
        "options": options_in_words(plan.wish),
        "lines": lines,
        "hidden": max(_number_of_builds(plan, lines) - len(lines), 0),
        "is_resumable": status.finished and status.state not in ("success", "gone"),
        "followers": list(plan.resumed_by.order_by("pk")[:LISTED]),
        "legend": _legend(lines),
        **_picture(lines, inputs, asked),
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


def _legend(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the states that the picture shows, with their signs."""
    shown = {line.build.status for line in lines if line.superseded_by is None}
    return [
        {"state": str(label), "sign": SIGNS.get(str(label), ""), "name": str(label), "number": None}
        for value, label in Build.Status.choices
        if value in shown
    ]


# --- The table ------------------------------------------------------------------------------------


def _lines(plan: Plan) -> list[Line]:
    large = ("job__config", "job__config_text", "job__docs", "job__notes")
    related = plan.builds.select_related("job", "cancel_requested_by")
    found = related.defer(*large).order_by("pk")[:LISTED]
    newest = dict(
        plan.builds.order_by().values("job").annotate(newest=Max("pk")).values_list("job", "newest")
    )
    now = timezone.now()
    return [
        Line(
            build=build,
            superseded_by=newest[build.job_id] if newest[build.job_id] > build.pk else None,
            duration=build.duration(now),
            reason=reason(build),
        )
        for build in found
    ]


def _number_of_builds(plan: Plan, lines: Sequence[Line]) -> int:
    return plan.builds.count() if len(lines) == LISTED else len(lines)


def _inputs(plan: Plan) -> dict[int, list[BuildDependency]]:
    """Return what the builds use, by number."""
    links = BuildDependency.objects.filter(build__plan=plan).order_by("build", "pk")
    found: dict[int, list[BuildDependency]] = {}
    only = ("build", "job__title", "dep_build_number", "dep_build__status", "dep_build__plan")
    for link in links.select_related("dep_build", "job").only(*only)[:INPUTS_READ]:
        found.setdefault(link.build_id, []).append(link)
    return found


def _is_unfinished(link: BuildDependency) -> bool:
    return link.dep_build is not None and not link.dep_build.finished


# --- The picture ----------------------------------------------------------------------------------


def _picture(
    lines: Sequence[Line],
    inputs: Mapping[int, Sequence[BuildDependency]],
    asked: QueryDict,
) -> dict[str, Any]:
    """Return the picture of the newest build of each job and of what they use, or why none."""
    current = [line for line in lines if line.superseded_by is None]
    if len(current) > MAX_NODES:
        text = f"More than {MAX_NODES:,} builds are too many for a picture: see the table."
        return {"no_picture": text}
    nodes = {line.build.pk: _node(line) for line in current}
    uses = []
    for line in current:
        for link in inputs.get(line.build.pk, ()):
            if link.dep_build_number not in nodes:
                nodes[link.dep_build_number] = _reused(link)
            uses.append((_name(link.dep_build_number), _name(line.build.pk)))
    return picture_part(Graph.of(nodes.values(), uses), asked, instead="See the table.")


def _node(line: Line) -> Node:
    build = line.build
    return Node(
        id=_name(build.pk),
        title=build.job.label,
        status=build.status.lower(),
        url=reverse("admin:builds_build_change", args=[build.pk]),
        protected=build.job.protected,
        remarks=tuple(filter(None, [build.plan_reason, line.reason])),
    )


def _reused(link: BuildDependency) -> Node:
    url = reverse("admin:builds_build_change", args=[link.dep_build_number])
    return Node(id=_name(link.dep_build_number), title=link.job.label, status=REUSED, url=url)


def _name(number: int) -> str:
    return f"#{number}"
