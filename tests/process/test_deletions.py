"""Deletions through a real cluster: done, failed, and lost with their worker."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.process.test_cluster import wait_for
from tests.support.site import Site

MODULE = """
import os, time

def make(path=None):
    if path:
        open(path, "w").close()
    return path

def clean(build):
    os.remove(build["retval"])

def fail(build):
    raise OSError("the disk says no")

def hang(build):
    with open(build["retval"] + ".cleaning", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def cleaning(site: Site) -> Site:
    site.write_module("cleaning", MODULE)
    jobs = "".join(
        f"  - {{id: {name}, function: 'cleaning:make', cleanup: 'cleaning:{name}', "
        f"args: ['{site.folder}/{name}']}}\n"
        for name in ("clean", "fail", "hang")
    )
    site.write_config("jobs:\n" + jobs)
    return site  # `build_job` syncs


def build_and_ask(site: Site, job_id: str, *, cleanup: bool = True) -> int:
    """Build a job in place and ask for the deletion of the build; return its number."""
    number: int = site.json("build_job", job_id)["id"]
    ask(site, number, cleanup=cleanup)
    return number


def ask(site: Site, number: int, *, cleanup: bool = True) -> None:
    site.python(
        f"""
        from builds import services
        from builds.models import Build
        services.request_deletion(build=Build.objects.get(pk={number}), cleanup={cleanup})
        """
    )


def deletions(site: Site) -> list[dict]:
    return json.loads(
        site.python(
            """
            import json
            from builds.deletion_models import Deletion
            from builds.models import Build
            print(json.dumps([
                {"state": one.state, "outcome": one.outcome, "log": one.log,
                 "error": (one.traceback or {}).get("message"),
                 "kept": Build.objects.filter(pk=one.build_number, deleting=False).exists()}
                for one in Deletion.objects.order_by("pk")
            ]))
            """
        )
    )


def wait_until_ended(site: Site) -> list[dict]:
    # Straight from the database: a process each time would take a core of the machine.
    unfinished = "SELECT 1 FROM builds_deletion WHERE state IN ('WAITING', 'RUNNING')"
    wait_for(lambda: not site.sql(unfinished))
    return deletions(site)


def test_a_worker_cleans_up_and_deletes(cleaning: Site):
    made = cleaning.folder / "clean"
    with cleaning.cluster():
        build_and_ask(cleaning, "clean")
        (done,) = wait_until_ended(cleaning)
    assert (done["state"], done["outcome"]) == ("DONE", "done")
    assert not made.exists()
    assert cleaning.json("list_builds") == []


def test_a_failing_cleanup_keeps_the_build_until_it_is_left_out(cleaning: Site):
    with cleaning.cluster():
        number = build_and_ask(cleaning, "fail")
        (failed,) = wait_until_ended(cleaning)
        assert (failed["state"], failed["error"], failed["kept"]) == (
            "FAILED",
            "the disk says no",
            True,
        )
        ask(cleaning, number, cleanup=False)
        _, done = wait_until_ended(cleaning)
    assert (done["state"], done["outcome"]) == ("DONE", "skipped")
    assert (cleaning.folder / "fail").exists(), "what the build made was left"
    assert cleaning.json("list_builds") == []


def test_a_worker_killed_while_it_cleans_up_keeps_the_build(cleaning: Site):
    mark = Path(f"{cleaning.folder}/hang.cleaning")
    with cleaning.cluster(HEARTBEAT_SECONDS="1", LEASE_SECONDS="5"):
        number = build_and_ask(cleaning, "hang")
        pid = int(wait_for(lambda: mark.exists() and mark.read_text()))
        os.kill(pid, signal.SIGKILL)
        (lost,) = wait_until_ended(cleaning)
        assert (lost["state"], lost["outcome"], lost["kept"]) == ("FAILED", "failed", True)
        assert f"process {pid} on" in lost["log"]
        ask(cleaning, number, cleanup=False)
        wait_until_ended(cleaning)
    assert cleaning.json("list_builds") == []


def test_a_deletion_asked_for_while_no_worker_is_there_waits(cleaning: Site):
    build_and_ask(cleaning, "clean")
    assert deletions(cleaning)[0]["state"] == "WAITING"
    with cleaning.cluster():
        (done,) = wait_until_ended(cleaning)
    assert done["state"] == "DONE"
