"""Whatever waits says what for: on pages, in the API and on the command line."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from builds import context_processors, queue, services, waiting
from builds.models import Build, BuildDependency
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobs.models import Job
from tests.support.commands import run, run_json
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: free, function: "tests.support.odd_jobs:value"}
  - {id: two, function: "tests.support.odd_jobs:value", concurrency: 2}
  - {id: heavy, function: "tests.support.odd_jobs:value", queue: heavy}
"""


@pytest.fixture(autouse=True)
def config(transactional_db, monkeypatch):
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": True)
    context_processors.forget()
    use_config(CONFIG)
    yield
    context_processors.forget()


def ask(job: str, **changes) -> Build:
    made = services.request_build(job=Job.objects.get(pk=job), trigger="python")
    if changes:
        Build.objects.filter(pk=made.pk).update(**changes)
        made.refresh_from_db()
    return made


def cluster(*queues: str, workers: int = 2, number: int = 1) -> Cluster:
    me = WorkerIdentity.current()
    identity = WorkerIdentity(me.host, me.host_id, number, "1")
    services.beat_cluster(worker=identity, workers=workers, queues=queues or ["default"])
    return Cluster.objects.get(pk=str(identity))


def claim(*queues: str, **options) -> Build:
    found = services.claim(worker=WorkerIdentity.current(), queues=queues or ["default"], **options)
    assert found is not None
    return found


def why(build: Build) -> str:
    """What the function says, and that command, API and page say the same."""
    build.refresh_from_db()
    return waiting.reasons([build])[build.pk]


def test_what_runs_or_has_ended_waits_for_nothing():
    ask("free")
    running = claim()
    assert waiting.reasons([running]) == {}
    Build.objects.update(status="FAILED")
    assert waiting.reasons(Build.objects.all()) == {}


def test_a_build_that_was_only_created():
    made = services.create_build(job=Job.objects.get(pk="free"), trigger="python")
    assert why(made) == "not asked to run yet"
    Build.objects.update(in_place=True)
    assert why(made) == "its turn comes where its plan runs"


def test_a_build_that_waits_for_others_names_them():
    made = ask("two", status="WAITING")
    needs = [ask("free", status=status) for status in ("RUNNING", "QUEUED", "WAITING", "QUEUED")]
    done = ask("free", status="SUCCESSFUL")
    assert why(made) == "all that it needs has ended: it is about to be queued"
    jobs = ["free", "two", "heavy"]
    for number, need in enumerate([done, *needs[:2]]):
        link = {"build": made, "dep_build": need, "dep_build_number": need.pk}
        BuildDependency.objects.create(job_id=jobs[number], **link)
    running, queued = needs[0].pk, needs[1].pk
    assert why(made) == f"for build #{running} of two (running), build #{queued} of heavy (queued)"
    assert waiting._for(["a", "b", "c", "d", "e"]) == "for a, b, c and 2 more"


def test_a_retry_that_waits_for_its_time(settings):
    cluster()
    soon = timezone.now() + timedelta(seconds=40)
    settings.TIME_ZONE = "UTC"
    assert f"{soon:%H:%M:%S} (in " in why(ask("free", not_before=soon))
    assert " s)" in why(ask("free", not_before=soon))
    later = timezone.now() + timedelta(days=2, minutes=5, seconds=30)
    said = why(ask("free", not_before=later))
    assert said.startswith(f"until {timezone.localtime(later):%Y-%m-%d %H:%M:%S} (in 48 h 5 min")
    assert why(ask("free", not_before=timezone.now() - timedelta(1))).startswith("2 of 2 workers")


def test_a_job_that_is_full():
    cluster(workers=9)
    made = [ask("two") for _ in range(3)]
    assert why(made[2]) == "9 of 9 workers are free for the next in line"
    claim(), claim()
    assert why(made[2]) == "2 builds of two run already (concurrency: 2)"
    use_config(CONFIG.replace("concurrency: 2", "concurrency: 1"))
    assert why(made[2]) == "2 builds of two run already (concurrency: 1)"
    use_config(CONFIG.replace("concurrency: 2", "concurrency: 3"))
    assert why(made[2]) == "7 of 9 workers are free for the next in line"


def test_nobody_is_there():
    made, heavy = ask("free"), ask("heavy")
    assert why(made) == "no cluster is alive: start one with 'jobcontrol-cli worker'"
    assert why(heavy) == "no cluster is alive: start one with 'jobcontrol-cli worker --queue heavy'"
    cluster("other", "heavy")
    assert why(made) == (
        "no live cluster serves the queue 'default': start one with 'jobcontrol-cli worker'"
    )
    assert why(heavy) == "2 of 2 workers for the queue 'heavy' are free for the next in line"
    Cluster.objects.update(last_seen=Now() - timedelta(hours=1))
    assert why(heavy).startswith("no cluster is alive")


def test_clusters_that_are_drained():
    one, other = cluster(number=1), cluster(number=2, workers=3)
    made = ask("free")
    Cluster.objects.filter(pk=one.pk).update(drain_requested=timezone.now())
    assert why(made) == "3 of 3 workers are free for the next in line"
    Cluster.objects.filter(pk=other.pk).update(drain_requested=timezone.now())
    assert why(made) == "all clusters that serve the queue 'default' are drained"


def test_workers_that_are_busy():
    cluster(workers=1)
    for _ in range(3):
        made = ask("free")
    claim(build_id=ask("free").pk)  # in place: it keeps no worker busy
    assert why(made) == "1 of 1 workers is free for the next in line"
    claim()
    assert why(made) == "the only worker is busy"
    cluster("default", "heavy", workers=2, number=2)
    assert why(made) == "2 of 3 workers are free for the next in line"
    heavy = [ask("heavy"), ask("heavy")]
    claim("heavy"), claim()
    assert why(made) == "all 3 workers are busy"
    Cluster.objects.filter(workers=2).update(queue="heavy", workers=1)
    assert why(heavy[1]) == "the only worker for the queue 'heavy' is busy"


def test_a_build_that_is_being_deleted():
    made = ask("free", deleting=True)
    assert why(made) == "it is being deleted"


def test_a_page_of_builds_is_four_queries():
    cluster()
    builds = [
        ask(job, status=s) for s in ("QUEUED", "WAITING", "CREATED") for job in ("two", "free")
    ]
    for number in (6, 30):
        builds += [ask("free") for _ in range(number)]
        with CaptureQueriesContext(connection) as seen:
            assert len(waiting.reasons(builds)) == len(builds)
        assert len(seen) == 4


# --- Where it is said -----------------------------------------------------------------------------

NOBODY = (
    "no live cluster serves the queue 'heavy': start one with 'jobcontrol-cli worker --queue heavy'"
)


def text(response) -> str:
    assert response.status_code == 200
    return response.content.decode().replace("&#x27;", "'").replace("&#39;", "'")


def test_pages_commands_and_api_say_it(viewer):
    cluster()
    made = ask("heavy")
    page = f"/admin/builds/build/{made.pk}/change/"
    assert f"This build waits: {NOBODY}." in text(viewer.get(page))
    assert NOBODY in text(viewer.get("/admin/builds/build/"))
    job_page = text(viewer.get("/admin/jobs/job/heavy/change/"))
    assert job_page.count(NOBODY) >= 2, "in its builds"
    assert NOBODY.replace("no live", "No live") in job_page, "in its facts"
    assert viewer.get(f"/api/build/{made.pk}").json()["waits_for"] == NOBODY
    assert viewer.get("/api/build/").json()[0]["waits_for"] == NOBODY
    assert run_json("get_build", made.pk)["waits_for"] == NOBODY
    assert NOBODY in " ".join(run("get_build", made.pk).out.split())
    assert "no live cluster serves" in run("list_builds").out
    Build.objects.update(status="SUCCESSFUL")
    assert viewer.get(f"/api/build/{made.pk}").json()["waits_for"] is None
    assert "This build waits" not in text(viewer.get(page))


def test_every_page_names_the_queues_that_builds_wait_in_for_nobody(viewer):
    said = "No worker takes builds of the queue “heavy”"
    ask("free")
    cluster()
    assert said not in text(viewer.get("/admin/"))
    ask("heavy")
    context_processors.forget()
    page = text(viewer.get("/admin/"))
    assert said in page
    assert "--queue heavy" in page
    assert "No worker is running" not in page
    cluster("heavy", "other", number=2)
    context_processors.forget()
    assert said not in text(viewer.get("/admin/"))
    Cluster.objects.filter(queue="heavy,other").update(drain_requested=Now())
    context_processors.forget()
    assert said in text(viewer.get("/admin/")), "its only cluster is drained"
    Cluster.objects.update(drain_requested=Now())
    context_processors.forget()
    page = text(viewer.get("/admin/"))
    assert "All workers are drained" in page
    assert said not in page, "that says it already"


def test_strangers_are_not_told(client):
    cluster()
    ask("heavy")
    assert "heavy" not in client.get("/admin/login/").content.decode()


def test_the_job_page_tells_its_limit_and_queue(viewer):
    cluster("heavy")
    assert "2 builds at most" in text(viewer.get("/admin/jobs/job/two/change/"))
    page = text(viewer.get("/admin/jobs/job/heavy/change/"))
    assert "<dt>Queue</dt>" in page
    assert "no live cluster" not in page.lower()
