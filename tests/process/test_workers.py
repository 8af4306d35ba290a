"""Several clusters on one database: one drained from the page, and one of three killed."""

from __future__ import annotations

import json
import os
import re
import urllib.parse
import urllib.request
from contextlib import ExitStack
from http.cookiejar import CookieJar

import pytest

from tests.support.faults import SETTINGS, Family, Faulty, faulty_site, kill
from tests.support.site import Cluster
from tests.support.site import wait_until as wait_for
from tests.support.web import web

pytestmark = pytest.mark.timeout(300)

KIND = os.environ.get("JOBCONTROL_TEST_DB", "sqlite")
USER = """
    from django.contrib.auth.models import Group, User
    user = User.objects.create_user("manager", password="only-for-tests-0123", is_staff=True)
    user.groups.add(Group.objects.get(name="manager"))
"""


class Browser:
    """Somebody who is logged in, without a browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = CookieJar()
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        ).open
        self.get("/admin/login/")
        fields = {"username": "manager", "password": "only-for-tests-0123", "next": "/admin/"}
        self.post("/admin/login/", fields)

    def get(self, path: str) -> str:
        with self._open(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, path: str, fields: dict[str, str]) -> str:
        token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken")
        data = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token or ""}).encode()
        request = urllib.request.Request(self.url + path, data, {"Referer": self.url})
        with self._open(request, timeout=30) as answer:
            return answer.read().decode()

    def press(self, answer: str) -> None:
        """Press the one button that drains a cluster, or takes it up again."""
        (action,) = re.findall(r'formaction="(/admin/builds/cluster/[^"]+/drain/)"', self.page())
        self.post(action, {"drain": answer})

    def page(self) -> str:
        return self.get("/admin/builds/cluster/")


def state(faulty: Faulty) -> list[dict]:
    return faulty.site.json("list_workers")


def test_a_cluster_is_drained_from_the_page_and_taken_up_again(tmp_path, site_template):
    """What runs ends, what waits stays, and nothing of it is lost."""
    with faulty_site(KIND, tmp_path / "site", template=site_template) as faulty:
        site = faulty.site
        faulty.prepare(long=3.0)
        site.python(USER)
        with web(site) as url, site.cluster(**SETTINGS) as cluster:
            browser = Browser(url)
            faulty.request(short=0, long=1)
            faulty.busy()
            family = Family(cluster)
            wait_for(lambda: "1 of 2 busy" in browser.page())
            page = browser.page()
            for worker in family.workers:
                assert f'<th scope="row" data-label="worker">{worker.pid}</th>' in page
            browser.press("yes")
            wait_for(lambda: "drained: the workers take no more builds" in cluster.output)
            faulty.request(short=5)
            wait_for(lambda: "jc-crew-drained" in browser.page())
            done = {job: status for _, job, status, _ in faulty.builds()}
            assert done == {"long": "SUCCESSFUL", "short": "QUEUED"}
            assert "All workers are drained" in browser.page()
            (row,) = state(faulty)
            assert (row["state"], row["busy"]) == ("drained", 0)
            assert {one["pid"] for one in row["processes"]} == {one.pid for one in family.workers}
            assert all(one["memory"] > 10 * 1024**2 for one in row["processes"])
            # A worker that is started anew takes nothing either.
            kill(family.workers[0])
            wait_for(lambda: family.workers[0].pid not in pids(faulty))
            assert {row[2] for row in faulty.builds() if row[1] == "short"} == {"QUEUED"}
            browser.press("no")
            faulty.check_promises(queued=6)
            wait_for(lambda: "jc-crew-active" in browser.page())
            assert cluster.stop() == 0


def slow(faulty: Faulty) -> None:
    """Let each short build take a while, so that most of them wait when a cluster is killed."""
    folder = faulty.site.folder
    faulty.site.write_config(
        f"""
        jobs:
          - id: short
            function: faulty:work
            args: ["{folder}/ran", 0.3, /dev/null, /dev/null]
          - id: long
            priority: 1
            function: faulty:work
            args: ["{folder}/ran", 600, "{folder}/marks", "{folder}/done"]
        """
    )


def pids(faulty: Faulty) -> set[int]:
    # Straight from the database: a process each time would take a core of the machine.
    ((text,),) = faulty.site.sql("SELECT processes FROM builds_cluster")
    return {one["pid"] for one in json.loads(text)}


def test_a_deployment_drains_waits_and_stops_and_another_cluster_goes_on(tmp_path, site_template):
    with faulty_site(KIND, tmp_path / "site", template=site_template) as faulty:
        site = faulty.site
        faulty.prepare(long=4.0)
        with site.cluster(**SETTINGS) as old:
            faulty.request(short=0, long=1)
            faulty.busy()
            (row,) = state(faulty)
            name = f"{row['host']}:{row['pid']}"
            with site.cluster(**SETTINGS) as new:
                done = site.json("drain_cluster", name, "--wait")
                assert [one["state"] for one in done] == ["drained"]
                assert [row[2] for row in faulty.builds()] == ["SUCCESSFUL"], "it waited"
                faulty.request(short=6)
                faulty.check_promises(queued=7)
                worked = {one for (one,) in site.sql("SELECT worker FROM builds_build")}
                assert sum(":" in one for one in worked) >= 2
                shorts = site.sql("SELECT DISTINCT worker FROM builds_build WHERE job_id = 'short'")
                theirs = {str(worker.pid) for worker in Family(new).workers}
                assert {one.split(":")[-2] for (one,) in shorts} <= theirs
                assert old.stop() == 0
                assert [row["pid"] for row in state(faulty)] == [new.pid]


if KIND == "postgres":

    def test_one_of_three_clusters_is_killed_and_nothing_is_lost(
        tmp_path, site_template, fault_table
    ):
        """With Redis as the broker: by the rules of the fault matrix."""
        with (
            faulty_site("redis", tmp_path / "site", template=site_template) as faulty,
            ExitStack() as stack,
        ):
            faulty.prepare()
            slow(faulty)
            facts = {"fault": "SIGKILL one of three clusters", "on": "redis", "result": "FAILED"}
            fault_table.append({**facts, "facts": faulty.facts})
            clusters: list[Cluster] = [
                stack.enter_context(faulty.site.cluster(**SETTINGS)) for _ in range(3)
            ]
            families = [Family(cluster) for cluster in clusters]
            assert len(wait_for(lambda: len(found := state(faulty)) == 3 and found)) == 3
            faulty.request(short=0, long=1)
            busy = faulty.busy()
            (victim,) = (
                number
                for number, family in enumerate(families)
                if busy.pid in {worker.pid for worker in family.workers}
            )
            faulty.request(short=200)
            wait_for(lambda: len(faulty.numbers("ran")) >= 20)
            assert len(faulty.numbers("ran")) < 190, "it is in the middle"
            kill(*families[victim].all())
            clusters[victim].process.wait(timeout=60)
            wait_for(lambda: clusters[victim].processes() == [])
            workers = SETTINGS["WORKERS"]
            faulty.check_promises(lost=1, may_be_lost=workers - 1, queued=201)
            faulty.check_still_works()
            living = {cluster.pid for cluster in clusters if cluster is not clusters[victim]}
            lost = wait_for(lambda: [row["pid"] for row in state(faulty) if row["state"] == "lost"])
            assert lost == [clusters[victim].pid]
            assert {row["pid"] for row in state(faulty) if row["state"] == "active"} == living
            fault_table[-1]["result"] = "held"
