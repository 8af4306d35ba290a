"""Plans whose builds run here, as in a worker, for tests."""

from __future__ import annotations

from typing import Any

from builds import runner, services
from builds.models import Build
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from jobs.models import Job

ALL = Options(dependencies=Dependencies.ALL)
MISSING = Options(dependencies=Dependencies.MISSING)
OUTDATED = Options(dependencies=Dependencies.OUTDATED)

# a ─ b ┐
#  └─ c ┴ d ─ e: each returns the list of what it was made of.
DIAMOND = """
jobs:
  - {id: a, function: "tests.support.plan_jobs:join", args: [a]}
  - {id: b, function: "tests.support.plan_jobs:join", args: [b, !retval a]}
  - {id: c, function: "tests.support.plan_jobs:join", args: [c, !retval a]}
  - {id: d, function: "tests.support.plan_jobs:join", args: [d, !retval b, !retval c]}
  - {id: e, function: "tests.support.plan_jobs:join", args: [e, !retval d]}
"""


def ask(job_id: str, options: Options = ALL, **wish: Any) -> Build:
    """Ask for a plan; return the target's build."""
    job = Job.objects.get(pk=job_id)
    return services.request_build(job=job, trigger="python", options=options, **wish)


def run(times: int | None = None) -> list[str]:
    """Run what is queued, as a worker would; return the jobs in the order in which they ran."""
    ran: list[str] = []
    while times is None or len(ran) < times:
        build = runner.run_next()
        if build is None:
            break
        ran.append(build.job_id)
    return ran


def states(plan: Plan) -> dict[str, str]:
    """Return the state of the newest build of each job of the plan."""
    return {build.job_id: build.status for build in plan.builds.order_by("pk")}
