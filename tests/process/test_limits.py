"""Limits and queues on real clusters: by what the jobs themselves write down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.test_cluster import wait_for
from tests.support.site import Cluster, Site

NOTING = """
import os, time

def note(path, seconds):
    start = time.time()
    time.sleep(seconds)
    text = "%f %f %d\\n" % (start, time.time(), os.getpid())
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, text.encode())
    os.close(handle)
"""
REQUEST = """
    from builds import services
    from jobs import registry
    from jobs.models import Job

    registry.ensure_current()
    for name, count in {wishes}.items():
        job = Job.objects.get(pk=name)
        for _ in range(count):
            services.request_build(job=job, trigger="cli")
"""
BUILDS, LIMIT = 200, 3
SECONDS = 0.5
# Longer than a worker goes on claiming: the next one needs a wake-up of its own.
LONG = 1.1


@pytest.fixture
def noting(site: Site) -> Site:
    site.write_module("noting", NOTING)
    site.write_config(
        f"""
        jobs:
          - id: limited
            function: noting:note
            args: ["{site.folder}/limited", {SECONDS}]
            concurrency: {LIMIT}
          - id: long
            function: noting:note
            args: ["{site.folder}/long", {LONG}]
            concurrency: {LIMIT}
          - id: free
            function: noting:note
            args: ["{site.folder}/free", 0.01]
          - id: heavy
            function: noting:note
            args: ["{site.folder}/heavy", 0.01]
            queue: heavy
        """
    )
    return site  # whoever needs the jobs first syncs


def ask(site: Site, **wishes: int) -> None:
    site.python(REQUEST.format(wishes=wishes))


def lines(path: Path) -> list[tuple[float, float, int]]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(float(start), float(end), int(pid)) for start, end, pid in rows]


def steps(rows: list[tuple[float, float, int]]) -> list[tuple[float, int]]:
    """Return how many ran from each moment on."""
    changes = sorted([(end, -1) for _, end, _ in rows] + [(start, 1) for start, _, _ in rows])
    running, found = 0, []
    for moment, change in changes:
        running += change
        found.append((moment, running))
    return found


def pids(cluster: Cluster) -> set[int]:
    return {process.pid for process in cluster.processes()}


def test_never_more_than_the_limit_and_never_fewer_while_some_wait(noting: Site):
    """200 builds, `concurrency: 3`, two clusters; times are those that the jobs wrote."""
    ask(noting, limited=BUILDS, free=20)
    with noting.cluster(WORKERS=3) as one, noting.cluster(WORKERS=3) as other:
        wait_for(lambda: noting.finished() == BUILDS + 20, 300)
        rows = lines(noting.folder / "limited")
        families = [pids(cluster) for cluster in (one, other)]
    shares = [sum(pid in family for _, _, pid in rows) for family in families]
    assert len(rows) == BUILDS
    assert sum(shares) == BUILDS
    ran = steps(rows)
    assert max(running for _, running in ran) == LIMIT
    # Others wait from the moment when all places were taken until the last one has begun.
    begun = next(moment for moment, running in ran if running == LIMIT)
    last = max(start for start, _, _ in rows)
    gaps = [0.0]
    for (moment, running), (until, _) in zip(ran, ran[1:], strict=False):
        if begun <= moment < last and running < LIMIT:
            gaps[-1] += until - moment
        elif gaps[-1]:
            gaps.append(0.0)
    short = sum(gaps)
    print(f"{last - begun:.1f} s, {short:.1f} s with fewer, at most {max(gaps):.1f} s at once")
    # Between two builds an outcome is stored and the next one claimed: 4 % of the time on an idle
    # machine, half of it on a loaded one; all of it where a place stays empty.
    assert short < 0.7 * (last - begun)


def test_who_ends_wakes_the_next_one_of_a_limited_job(noting: Site):
    """The loop that would find it a second later stands still meanwhile."""
    count = 4 * LIMIT
    with noting.cluster(WORKERS=6) as cluster, noting.standstill(cluster):
        ask(noting, long=count)
        wait_for(lambda: noting.finished() == count)
    ran = steps(lines(noting.folder / "long"))
    assert max(running for _, running in ran) == LIMIT


@pytest.mark.parametrize("broker", ["database", "redis"])
def test_each_queue_has_its_own_cluster(noting: Site, request, broker):
    if broker == "redis":
        noting.env["REDIS_URL"] = request.getfixturevalue("redis_url")
    with (
        noting.cluster(WORKERS=1) as usual,
        noting.cluster("--queue", "heavy,other", WORKERS=1) as heavy,
    ):
        assert "ready for the queue heavy, other" in heavy.output
        ask(noting, heavy=15, free=15)
        wait_for(lambda: noting.finished() == 30)
        assert {pid for *_, pid in lines(noting.folder / "free")} <= pids(usual)
        assert {pid for *_, pid in lines(noting.folder / "heavy")} <= pids(heavy)
        served = {name for (name,) in noting.sql("SELECT queue FROM builds_cluster")}
        assert served == {"default", "heavy,other"}


def test_a_build_waits_for_a_cluster_of_its_queue_and_says_so(noting: Site):
    with noting.cluster(WORKERS=1):
        ask(noting, heavy=1, free=1)
        wait_for(lambda: noting.finished() == 1)
        (waits,) = noting.json("list_builds", "heavy")
        command = "start one with 'jobcontrol-cli worker --queue heavy'"
        assert waits["waits_for"] == f"no live cluster serves the queue 'heavy': {command}"
        with noting.cluster("--queue", "heavy", WORKERS=1):
            wait_for(lambda: noting.finished() == 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [("a b", "letters, digits"), ("a,,b", "letters, digits"), (f"{'x' * 60},{'y' * 60}", "100")],
)
def test_a_wrong_name_of_a_queue_is_refused(noting: Site, given, said):
    ended = noting.manage("qcluster", "--queue", given)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("jobcontrol: --queue:")
    assert said in line


def test_the_command_line_waits_for_its_turn(noting: Site):
    noting.write_config(
        f"""
        jobs:
          - id: alone
            function: noting:note
            args: ["{noting.folder}/alone", 2]
            concurrency: 1
        """
    )
    with noting.cluster(WORKERS=1):
        ask(noting, alone=1)
        wait_for(lambda: noting.sql("SELECT 1 FROM builds_build WHERE status = 'RUNNING'"))
        ended = noting.manage("build_job", "alone")
    assert ended.returncode == 0, ended.stderr
    first, second = sorted(lines(noting.folder / "alone"))
    assert first[1] <= second[0]
