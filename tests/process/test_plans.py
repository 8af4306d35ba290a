"""Plans on real clusters: side by side where they may be, right values, resumed after a failure."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support.site import Site, wait_until

MIDDLE = 28  # between the first job and the last: thirty in all
PARTS = """
import os, time
from pathlib import Path

FOLDER = Path(__file__).parent

def part(name, *values, wait=0.3):
    with open(FOLDER / "ran", "a") as file:
        file.write(f"{name} {os.getpid()}\\n")
    start = time.time()
    while time.time() < start + wait or (FOLDER / f"hold-{name}").exists():
        time.sleep(0.05)
    if (FOLDER / f"fail-{name}").exists():
        raise ValueError(f"{name} fails")
    return [name, start, time.time(), sorted(value[0] for value in values)]
"""
ASK = """
    from builds import services
    from builds.planning import Dependencies, Options
    from jobs.models import Job

    job = Job.objects.get(pk="last")
    options = Options(dependencies=Dependencies.ALL)
    print(services.request_build(job=job, trigger="cli", options=options).plan_id)
"""
RESUME = """
    from builds import services
    from builds.plan_models import Plan

    plan = Plan.objects.get(pk={plan})
    print(services.resume_plan(plan=plan, trigger="cli").plan.pk)
"""
VALUES = """
    import json
    from builds import retvals
    from builds.models import Build

    found = {{}}
    for build in Build.objects.filter(plan={plan}, status="SUCCESSFUL").select_related("payload"):
        found[build.job_id] = retvals.unseal(build.pk, bytes(build.payload.retval))
    print(json.dumps(found))
"""


@pytest.fixture
def diamond(site: Site) -> Site:
    """`first`, 28 jobs that each use it, and `last`, which uses all of them."""
    site.write_module("parts", PARTS)
    middle = [f"m{number}" for number in range(MIDDLE)]
    lines = ["jobs:", "  - {id: first, function: parts:part, args: [first]}"]
    lines += [
        f"  - {{id: {name}, function: parts:part, args: [{name}, !retval first]}}"
        for name in middle
    ]
    values = "".join(f", !retval {name}" for name in middle)
    lines += [f"  - {{id: last, function: parts:part, args: [last{values}]}}"]
    site.write_config("\n".join(lines) + "\n")
    return site  # each test begins with a cluster, which syncs


def states(site: Site, plan: int) -> dict[str, str]:
    rows = site.sql(f"SELECT job_id, status FROM builds_build WHERE plan_id = {plan} ORDER BY id")
    return dict(rows)


def wait_for_plan(site: Site, plan: int) -> dict[str, str]:
    ended = f"SELECT count(*) FROM builds_build WHERE plan_id = {plan} AND end_time IS NULL"
    wait_until(lambda: site.sql(ended) == [(0,)], 180)
    return states(site, plan)


def ran(site: Site) -> list[str]:
    return [line.split()[0] for line in (site.folder / "ran").read_text().splitlines()]


def values_of(site: Site, plan: int) -> dict:
    return json.loads(site.python(VALUES.format(plan=plan)))


def most_at_once(spans: list[tuple[float, float]]) -> int:
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


def test_a_diamond_of_thirty_with_a_failing_branch_is_resumed(diamond: Site):
    (diamond.folder / "fail-m7").touch()
    with diamond.cluster(WORKERS="2"), diamond.cluster(WORKERS="2"):
        plan = int(diamond.python(ASK))
        ended = wait_for_plan(diamond, plan)
        bad = {name: status for name, status in ended.items() if status != "SUCCESSFUL"}
        assert bad == {"m7": "FAILED", "last": "FAILED"}
        kinds = dict(
            diamond.sql(
                "SELECT job_id, failure_kind FROM builds_build "
                f"WHERE plan_id = {plan} AND status = 'FAILED'"
            )
        )
        assert kinds == {"m7": "exception", "last": "upstream_failed"}
        assert len(ran(diamond)) == MIDDLE + 1

        (diamond.folder / "fail-m7").unlink()
        again = int(diamond.python(RESUME.format(plan=plan)))
        assert wait_for_plan(diamond, again) == {"m7": "SUCCESSFUL", "last": "SUCCESSFUL"}
    order = ran(diamond)
    assert order[0] == "first"
    assert order[-2:] == ["m7", "last"]
    assert sorted(order[1:-2]) == sorted(f"m{number}" for number in range(MIDDLE))
    found = values_of(diamond, again) | values_of(diamond, plan)
    assert found["last"][3] == sorted(f"m{number}" for number in range(MIDDLE))
    spans = [(start, end) for name, start, end, _ in found.values() if name.startswith("m")]
    assert most_at_once(spans) >= 3, "four workers, and builds that may run side by side"
    assert found["first"][2] <= min(start for start, _ in spans)


def test_a_worker_killed_in_the_middle_fails_its_branch_alone(diamond: Site):
    hold = diamond.folder / "hold-m3"
    hold.touch()
    with diamond.cluster(WORKERS="2"), diamond.cluster(WORKERS="2"):
        plan = int(diamond.python(ASK))

        def victim() -> int | None:
            lines = (diamond.folder / "ran").read_text().splitlines()
            return next((int(line.split()[1]) for line in lines if line.startswith("m3 ")), None)

        wait_until(lambda: (diamond.folder / "ran").exists() and victim() is not None)
        others = (
            f"SELECT count(*) FROM builds_build WHERE plan_id = {plan} AND status = 'SUCCESSFUL'"
        )
        wait_until(lambda: diamond.sql(others)[0][0] >= 5)
        pid = victim()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        ended = wait_for_plan(diamond, plan)
        bad = {name: status for name, status in ended.items() if status != "SUCCESSFUL"}
        assert bad == {"m3": "FAILED", "last": "FAILED"}
        kinds = dict(
            diamond.sql(
                "SELECT job_id, failure_kind FROM builds_build "
                f"WHERE plan_id = {plan} AND status = 'FAILED'"
            )
        )
        assert kinds == {"m3": "worker_lost", "last": "upstream_failed"}
        hold.unlink()
        again = int(diamond.python(RESUME.format(plan=plan)))
        assert wait_for_plan(diamond, again) == {"m3": "SUCCESSFUL", "last": "SUCCESSFUL"}
    assert sorted(set(ran(diamond))) == sorted(["first", "last", *(f"m{n}" for n in range(MIDDLE))])
    assert len(ran(diamond)) == MIDDLE + 3, "only m3 ran twice"


def test_a_plan_with_retries_goes_on_with_the_retry(diamond: Site):
    text = diamond.config_path.read_text()
    diamond.config_path.write_text(text.replace("{id: m7,", "{id: m7, retries: {count: 3},"))
    (diamond.folder / "fail-m7").touch()
    with diamond.cluster(WORKERS="2"):
        plan = int(diamond.python(ASK))
        retried = "SELECT count(*) FROM builds_build WHERE attempt > 1"
        wait_until(lambda: diamond.sql(retried)[0][0] >= 1, 180)
        (diamond.folder / "fail-m7").unlink()
        ended = wait_for_plan(diamond, plan)
    assert set(ended.values()) == {"SUCCESSFUL"}
    failed = "SELECT job_id FROM builds_build WHERE status = 'FAILED'"
    assert {name for (name,) in diamond.sql(failed)} == {"m7"}
