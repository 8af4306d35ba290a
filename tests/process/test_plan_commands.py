"""Plans in real processes: run in place, told to stop, killed, and handed to a cluster."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.bootstrap import ROOT
from tests.support.faults import SETTINGS
from tests.support.site import Site, wait_until

MODULE = '''
import os, time

def add_one(number=0):
    return number + 1

def fail(number):
    raise ValueError("no")

def hang(mark):
    """Sleeps, and tidies up."""
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        with open(mark + ".tidy", "w") as file:
            file.write("done")
'''


@pytest.fixture
def planned(site: Site) -> Site:
    """Two graphs: `last` needs `good` and what needs `bad`; `final` needs `hanging` and `late`."""
    site.write_module("planned", MODULE)
    site.write_config(
        f"""
        jobs:
          - {{id: first, function: "planned:add_one"}}
          - {{id: bad, function: "planned:fail", args: [!retval first]}}
          - {{id: after_bad, function: "planned:add_one", args: [!retval bad]}}
          - {{id: good, function: "planned:add_one", args: [!retval first]}}
          - id: last
            function: planned:add_one
            args: [!retval good]
            dependencies: [after_bad]
          - id: hanging
            function: planned:hang
            args: ["{site.folder}/mark"]
            dependencies: [first]
          - {{id: late, function: "planned:add_one", args: [!retval first]}}
          - {{id: final, function: "planned:add_one", dependencies: [hanging, late]}}
        """
    )
    return site  # `build_job` syncs


BRANCHES = {
    "first": ("SUCCESSFUL", ""),
    "bad": ("FAILED", "exception"),
    "after_bad": ("FAILED", "upstream_failed"),
    "good": ("SUCCESSFUL", ""),
    "last": ("FAILED", "upstream_failed"),
}


def states(site: Site) -> dict[str, tuple[str, str]]:
    rows = site.sql("SELECT job_id, status, failure_kind FROM builds_build ORDER BY id")
    return {name: (status, kind) for name, status, kind in rows}


def test_a_plan_in_place_with_a_failing_branch(planned: Site):
    result = planned.manage("build_job", "last", "--with-dependencies", "--format", "json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    assert (answer["job_id"], answer["failure_kind"]) == ("last", "upstream_failed")
    assert answer["plan"]["state"] == "failed"
    assert states(planned) == BRANCHES
    text = planned.manage("build_job", "last", "--with-dependencies")
    assert text.returncode == 1
    assert "Traceback" not in text.stderr


def test_a_plan_is_handed_to_a_cluster_and_waited_for(planned: Site):
    with planned.cluster(WORKERS="2"):
        arguments = ["build_job", "last", "--with-dependencies", "--queue", "--wait"]
        result = planned.manage(*arguments, "--format", "json")
    assert result.returncode == 1, result.stderr
    assert states(planned) == BRANCHES
    ended = planned.manage("build_job", "first", "--rebuild", "good", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["plan"]["state"] == "success"


def begin(site: Site) -> subprocess.Popen[str]:
    """Start a plan in place, and return when its second build runs."""
    process: subprocess.Popen[str] = site.start(
        str(ROOT / "manage.py"),
        *("build_job", "final", "--with-dependencies", "--format", "json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((site.folder / "mark").exists)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_the_build_that_runs_and_all_that_is_left(planned: Site, number: int):
    process = begin(planned)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert (planned.folder / "mark.tidy").exists()
    assert json.loads(out)["plan"]["state"] == "cancelled"
    assert states(planned) == {
        "first": ("SUCCESSFUL", ""),
        **dict.fromkeys(("hanging", "late", "final"), ("CANCELLED", "")),
    }


def test_what_a_killed_process_left_of_its_plan_is_cancelled_by_a_cluster(planned: Site):
    process = begin(planned)
    process.kill()
    process.communicate()
    left = "SELECT count(*) FROM builds_build WHERE end_time IS NULL"
    assert planned.sql(left) != [(0,)]
    with planned.cluster(**SETTINGS):
        wait_until(lambda: planned.sql(left) == [(0,)])
        # It works on: nothing of that plan stands in the way.
        again = planned.json("build_job", "good", "--queue", "--wait")
        assert again["status"] == "SUCCESSFUL"
    assert states(planned) == {
        "first": ("SUCCESSFUL", ""),
        "hanging": ("FAILED", "worker_lost"),
        "late": ("CANCELLED", ""),
        "final": ("FAILED", "upstream_failed"),
        "good": ("SUCCESSFUL", ""),
    }
    assert not (planned.folder / "mark.tidy").exists()
