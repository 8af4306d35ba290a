"""Many processes at once, each with its own file: real processes on a real database."""

import json
import subprocess

import pytest

FOLLOW = """
import sys, time, pathlib, django, json
django.setup()
from django.db import connection
from django.test.utils import CaptureQueriesContext
from jobs import registry
from jobs.models import ConfigRevision, Job
go, = map(pathlib.Path, sys.argv[1:])
connection.ensure_connection()
print("ready", flush=True)
while not go.exists():
    time.sleep(0.002)
with CaptureQueriesContext(connection) as captured:
    registry.ensure_current()
wrote = sum(q["sql"].lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) for q in captured)
print(json.dumps({"wrote": wrote, "problems": len(registry.problems()),
                  "jobs": list(Job.objects.active().values_list("pk", flat=True))}), flush=True)
sys.stdin.readline()
registry.ensure_current()
print(json.dumps(list(Job.objects.active().values_list("pk", flat=True))), flush=True)
"""


def config(count, prefix="job"):
    lines = [
        f"  - {{id: {prefix}-{n}, function: 'math:sqrt', args: [1]"
        + (f", dependencies: [{prefix}-{n - 1}]" if n else "")
        + "}"
        for n in range(count)
    ]
    return "\n".join(["jobs:", *lines]) + "\n"


def start(site, count, go, **env):
    processes = [
        site.start(
            "-c", FOLLOW, str(go), env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(count)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    return processes


def answer(process):
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def again(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return answer(process)


def revisions(site):
    code = "from jobs.models import ConfigRevision as R; print(R.objects.count())"
    result = site.manage("shell", "--verbosity", "0", "--command", code, check=True)
    return int(result.stdout)


def test_processes_that_start_together_write_once(site, tmp_path):
    site.write_config(config(300))
    before = revisions(site)
    go = tmp_path / "go"
    processes = start(site, 6, go)
    go.touch()
    answers = [answer(process) for process in processes]
    expected = [f"job-{n}" for n in range(300)]
    assert [found["jobs"] for found in answers] == [expected] * 6
    assert [found["problems"] for found in answers] == [0] * 6
    assert revisions(site) == before + 1
    for process in processes:
        assert again(process) == expected
        assert process.wait(30) == 0
        assert "locked" not in process.stderr.read()


def test_processes_with_different_files_do_not_undo_each_other(site, tmp_path):
    """A rolling change: the process that still has the old file lets the new jobs stand."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(config(20, "old"))
    new.write_text(config(20, "new"))
    first, second = tmp_path / "go1", tmp_path / "go2"
    [older] = start(site, 1, first, JOBCONTROL_CONFIG=str(old))
    [newer] = start(site, 1, second, JOBCONTROL_CONFIG=str(new))
    first.touch()
    assert answer(older)["jobs"][0] == "old-0"
    second.touch()
    assert answer(newer)["jobs"][0] == "new-0"
    count = revisions(site)
    assert again(older)[0] == "new-0"
    assert again(newer)[0] == "new-0"
    assert revisions(site) == count


@pytest.mark.parametrize("writers", [4])
def test_syncs_at_once_leave_the_registry_of_one_of_them_whole(site, tmp_path, writers):
    """Never a mixture: rows and links are written by one process at a time."""
    go = tmp_path / "go"
    processes = []
    for n in range(writers):
        path = tmp_path / f"{n}.yaml"
        path.write_text(config(100, f"p{n}"))
        processes += start(site, 1, go, JOBCONTROL_CONFIG=str(path))
    go.touch()
    for process in processes:
        answer(process)
    standing = [again(process) for process in processes]
    prefix = standing[0][0].split("-")[0]
    assert standing == [[f"{prefix}-{n}" for n in range(100)]] * writers
    code = (
        "from jobs.models import JobDependency as D; "
        "print(len({l.job_id.split('-')[0] for l in D.objects.all()}), D.objects.count())"
    )
    result = site.manage("shell", "--verbosity", "0", "--command", code, check=True)
    assert result.stdout.split() == ["1", "99"]
