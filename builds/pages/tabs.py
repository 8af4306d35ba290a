"""What a browser's tab says of a page that somebody keeps open: its title, its icon, the end.

A sign at the start of the title is seen in the narrowest tab, and read in a list of tabs. The same
state names the icon (`builds/static/builds/icons`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builds.models import Build
from builds.pages.progress import ProgressRow
from builds.plan_models import Plan
from builds.plan_status import PlanStatus

IDLE, WAITING, RUNNING = "idle", "waiting", "running"
SUCCESS, FAILED, CANCELLED = "success", "failed", "cancelled"

SIGNS = {
    IDLE: "",
    WAITING: "…",
    RUNNING: "▶",
    SUCCESS: "✓",
    FAILED: "✗",
    CANCELLED: "⊘",
}
NAME_CHARS = 60  # of a job; a tab shows fewer

_OF_BUILDS = {
    Build.Status.RUNNING: RUNNING,
    Build.Status.SUCCESSFUL: SUCCESS,
    Build.Status.SKIPPED: SUCCESS,
    Build.Status.FAILED: FAILED,
    Build.Status.CANCELLED: CANCELLED,
}


@dataclass(frozen=True)
class Tab:
    """`ended` says how what the page shows ended, for somebody who waits for it; "" until then."""

    title: str
    state: str
    ended: str = ""


def tab_of_build(build: Build, progress: Sequence[ProgressRow] = ()) -> Tab:
    """Return the tab of a build's page; `progress` begins with the bar of the whole."""
    state = _OF_BUILDS.get(Build.Status(build.status), WAITING)
    percent = progress[0].percent if progress and state == RUNNING else ""
    name = _short(build.job.label)
    title = _title(state, percent if percent.endswith("%") else "", f"{name} #{build.pk}")
    ended = f"Build #{build.pk} of {name}: {build.get_status_display()}" if build.finished else ""
    return Tab(title, state, ended)


def tab_of_plan(plan: Plan, status: PlanStatus) -> Tab:
    """Return the tab of a plan's page."""
    state = status.state if status.state in SIGNS else IDLE
    percent = ""
    if state == RUNNING:
        done = sum(status.counts.get(name, 0) for name in Build.FINISHED)
        percent = f"{done * 100 // status.total}%"
    name = _short(plan.job.label)
    ended = f"Plan {plan.pk} for {name}: {status.state}" if status.finished else ""
    return Tab(_title(state, percent, f"{name}, plan {plan.pk}"), state, ended)


def tab_of_overview(title: str, running: str, failed: str) -> Tab:
    """Return the tab of the overview, with how many builds run and have failed; "" for none."""
    numbers = [f"{SIGNS[RUNNING]} {running}" if running else "", f"✗ {failed}" if failed else ""]
    return Tab(" ".join(filter(None, [*numbers, title])), RUNNING if running else IDLE)


def _title(state: str, percent: str, name: str) -> str:
    return " ".join(filter(None, [SIGNS[state], percent, name]))


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"
