"""Endless jobs of many kinds, cancelled in real workers: each is interrupted, none is killed."""

from __future__ import annotations

import json
import statistics

import pytest

from tests.support import stoppable_jobs
from tests.support.site import Site

# In a worker that has nothing else to do a cancel takes a second or less, two at most
# (benchmarks/cancels.py measures it). Here six builds at a time share the cores with each other
# and with other tests; what is never met by the signal would take all of the grace.
SECONDS = 10
GRACE_SECONDS = 60

CANCEL_ALL = """
    import json, time
    from pathlib import Path
    from builds import services
    from builds.models import Build
    from jobs import registry
    from jobs.models import Job

    registry.ensure_current()
    begun = {{}}
    for name in {names}:
        services.request_build(job=Job.objects.get(pk=name), trigger="python")
    end = time.monotonic() + 150
    builds = Build.objects.filter(job_id__in={names})
    while builds.filter(end_time=None).exists() and time.monotonic() < end:
        for build in builds.running().filter(cancel_requested=None):
            if not Path("{folder}", f"{{build.pk}}.begun").exists():
                continue
            # By then those that log have a buffer that is as full as it gets.
            if time.monotonic() > begun.setdefault(build.pk, time.monotonic()) + 1:
                services.cancel_build(build=build)
        time.sleep(0.05)
    for build in builds.exclude(end_time=None):
        fact = {{"job": build.job_id, "status": build.status, "why": build.exception_message}}
        if build.cancel_requested:
            fact["seconds"] = (build.end_time - build.cancel_requested).total_seconds()
        fact["tidy"] = Path("{folder}", f"{{build.pk}}.tidy").exists()
        print("fact", json.dumps(fact))
"""


@pytest.mark.timeout(240)
def test_python_code_of_every_kind_is_interrupted_soon(site: Site):
    site.write_config(stoppable_jobs.config(site.folder))
    names = sorted(stoppable_jobs.NAMES)  # so that busy ones and waiting ones are mixed
    with site.cluster(WORKERS=6, GRACE_SECONDS=GRACE_SECONDS):
        told = site.python(CANCEL_ALL.format(names=names, folder=site.folder))
    rows = [line.removeprefix("fact ") for line in told.splitlines() if line.startswith("fact ")]
    facts = {fact["job"]: fact for fact in map(json.loads, rows)}
    seconds = {name: facts[name]["seconds"] for name in facts if "seconds" in facts[name]}
    print(f"median {statistics.median(seconds.values()):.2f} s", sorted(seconds.items()))
    assert sorted(facts) == sorted(names), "all have ended"
    wrong = [fact for fact in facts.values() if fact["status"] != "CANCELLED" or not fact["tidy"]]
    assert not wrong, "their `finally` blocks ran"
    assert not [fact for fact in facts.values() if "killed" in fact["why"]]
    assert {name: took for name, took in seconds.items() if took > SECONDS} == {}
