"""The workers page: hosts, clusters and workers, what they run, and draining one."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from builds import context_processors, services
from builds.deletion_models import Deletion
from builds.models import Build
from builds.upkeep_models import Cluster
from tests.support.clusters import beating, main_of, silence, worker_of
from tests.support.jobs import use_config
from tests.support.leases import claimed

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/builds/cluster/"


@pytest.fixture(autouse=True)
def _nothing_remembered():
    context_processors.forget()
    yield
    context_processors.forget()


@pytest.fixture
def seer(staff):
    return staff("builds.view_cluster", "builds.view_build")


@pytest.fixture
def drainer(staff):
    return staff("builds.view_cluster", "builds.view_build", "builds.drain_cluster")


def text_of(client, url=PAGE):
    reply = client.get(url)
    assert reply.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", reply.content.decode()).split())


def runs_on(worker):
    """A build that this worker runs."""
    return claimed(str(worker))


def press(client, cluster, drain):
    return client.post(f"{PAGE}{quote(cluster.pk)}/drain/", {"drain": drain})


# --- What is shown --------------------------------------------------------------------------------


def test_hosts_clusters_and_workers_are_shown_with_what_they_run(seer):
    beating("far", 400)
    beating("near", 500, workers=1, trouble="the broker does not answer.")
    made = runs_on(worker_of(main_of("far", 400), 2))
    text = text_of(seer)
    assert text.index("far process 400") < text.index("near process 500")
    assert "queue default 1 of 2 busy" in text
    assert "401 nothing" in text
    assert f"402 #{made.pk} of job" in text
    assert text.count("50.0") == 3, "the memory of each worker"
    assert text.count("the broker does not answer.") == 2, "here and in the banner"
    assert reverse("admin:builds_build_change", args=[made.pk]) in seer.get(PAGE).content.decode()


def test_a_worker_is_known_by_its_start_too(seer):
    """Else a new process with the number of a dead one would seem to run its build."""
    cluster = beating()
    made = runs_on(worker_of(main_of(), 1))
    Cluster.objects.update(processes=[{"pid": 401, "started": "99", "seconds": 1, "memory": None}])
    assert f"#{made.pk}" not in text_of(seer)
    assert "0 of 2 busy" in text_of(seer)
    assert cluster.workers == 2


def test_a_deletion_is_shown_with_its_worker(seer):
    use_config("jobs: [{id: job, function: 'tests.support.odd_jobs:value'}]")
    beating()
    worker = worker_of(main_of(), 1)
    Deletion.objects.create(build_number=77, job_id="job", state="RUNNING", worker=str(worker))
    assert "401 deletion of #77 of job" in text_of(seer)


def test_a_build_in_place_is_shown_and_one_within_another_beside_it(seer):
    beating()
    worker = worker_of(main_of(), 1)
    outer = runs_on(worker)
    inner = runs_on(worker)
    alone = runs_on("laptop:0123456789ff:7:1")
    Build.objects.filter(pk=inner.pk).update(in_place=True, trigger="nested")
    Build.objects.filter(pk=alone.pk).update(in_place=True, trigger="cli")
    text = text_of(seer)
    workers, _, in_place = text.partition("In place")
    assert f"401 #{outer.pk} of job #{inner.pk} of job" in workers
    assert f"process 7 on laptop #{alone.pk} of job" in in_place
    assert f"#{inner.pk}" not in in_place


def test_those_that_are_lost_come_after_the_others_of_their_host(seer):
    silence(beating("far", 400), minutes=5)
    beating("far", 500)
    silence(beating("near", 600), minutes=5)
    beating("near", 700)
    text = text_of(seer)
    places = [text.index(f"process {pid}") for pid in (500, 400, 700, 600)]
    assert places == sorted(places)


def test_a_cluster_that_is_silent_is_shown_as_lost_until_it_is_forgotten(drainer):
    cluster = beating()
    made = runs_on(worker_of(main_of(), 1))
    silence(cluster, hours=1)
    text = text_of(drainer)
    assert "process 400 lost" in text
    assert f"401 #{made.pk} of job" in text, "not closed yet"
    assert "402" not in text
    assert "Drain" not in text
    silence(cluster, hours=25)
    services.forget_dead_clusters()
    assert "No worker has been started here" in text_of(drainer)


def test_without_a_cluster_the_page_has_the_command_that_starts_one(seer):
    assert context_processors.worker_command() in text_of(seer).replace("&#x27;", "'")


def test_a_search_finds_hosts(seer):
    beating("far", 400)
    beating("near", 500)
    assert "process 400" not in text_of(seer, f"{PAGE}?q=nea")
    assert "No cluster matches" in text_of(seer, f"{PAGE}?q=zebra")
    assert seer.get(f"{PAGE}?q=%00").status_code < 500


def test_the_number_of_queries_does_not_grow_with_the_clusters(seer):
    def count():
        context_processors.forget()
        with CaptureQueriesContext(connection) as queries:
            text_of(seer)
        return len(queries)

    beating("far", 400)
    runs_on(worker_of(main_of("far", 400), 1))
    few = count()
    for number in range(60):
        beating(f"host-{number:02}", 1_000 * (number + 1))
        runs_on(worker_of(main_of(f"host-{number:02}", 1_000 * (number + 1)), 1))
    assert count() == few <= 15
    assert "host-10" not in text_of(seer, f"{PAGE}?p=2"), "it has pages"


def test_who_may_see_no_builds_sees_none(staff):
    beating()
    made = runs_on(worker_of(main_of(), 1))
    text = text_of(staff("builds.view_cluster"))
    assert "401 a build" in text
    assert f"#{made.pk}" not in text


def test_the_page_is_in_the_index_and_behind_the_banner(seer, viewer):
    for page in (seer.get("/admin/").content.decode(), seer.get(PAGE).content.decode()):
        assert f'href="{PAGE}"' in page
    assert "Workers" in text_of(seer, "/admin/")
    banner = seer.get("/admin/").content.decode()
    assert "Show the workers" in banner
    assert "Show the workers" not in viewer.get("/admin/").content.decode()


# --- Draining -------------------------------------------------------------------------------------


def test_a_cluster_is_drained_and_taken_up_again_by_its_button(drainer):
    cluster = beating()
    assert "Drain process 400 on far" in text_of(drainer)
    for _ in range(2):
        assert press(drainer, cluster, "yes").status_code == 302
    cluster.refresh_from_db()
    assert cluster.drain_requested_by == drainer.user
    text = text_of(drainer)
    assert "process 400 draining" in text
    assert f"by {drainer.user.username}" in text
    assert "Take up again process 400 on far" in text
    for _ in range(2):
        assert press(drainer, cluster, "no").status_code == 302
    assert "process 400 active" in text_of(drainer)
    notes = LogEntry.objects.filter(object_id=cluster.pk).order_by("pk")
    assert [note.change_message for note in notes] == ["Asked it to drain.", "Took it up again."]
    history = text_of(drainer, f"{PAGE}{quote(cluster.pk)}/history/")
    assert "Asked it to drain." in history


def test_it_is_drained_once_its_supervisor_said_so_and_nothing_runs(drainer):
    cluster = beating()
    made = runs_on(worker_of(main_of(), 1))
    services.drain_cluster(cluster=cluster)
    beating(draining=True)
    assert "process 400 draining" in text_of(drainer)
    Build.objects.filter(pk=made.pk).update(status="SUCCESSFUL")
    assert "process 400 drained" in text_of(drainer)
    assert "it can be stopped" in text_of(drainer)


def test_the_page_of_a_cluster_has_the_button_too(drainer, seer):
    cluster = beating()
    url = f"{PAGE}{quote(cluster.pk)}/change/"
    assert "Drain process 400 on far" in text_of(drainer, url)
    assert "Drain process" not in text_of(seer, url)
    press(drainer, cluster, "yes")
    assert f"by {drainer.user.username}" in text_of(seer, url)


def test_draining_is_for_those_who_may(seer, staff):
    cluster = beating()
    assert "Drain process" not in text_of(seer)
    for client in (seer, staff("builds.drain_cluster")):
        assert press(client, cluster, "yes").status_code == 403
    assert Cluster.objects.get().drain_requested is None


def test_draining_needs_a_post_with_the_csrf_token(drainer):
    cluster = beating()
    url = f"{PAGE}{quote(cluster.pk)}/drain/"
    assert drainer.get(url).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(drainer.user)
    assert strict.post(url, {"drain": "yes"}).status_code == 403
    assert Cluster.objects.get().drain_requested is None


def test_a_cluster_that_has_gone_leads_back_with_a_word(drainer):
    cluster = beating()
    Cluster.objects.all().delete()
    reply = drainer.post(f"{PAGE}{quote(cluster.pk)}/drain/", {"drain": "yes"}, follow=True)
    assert "exist" in reply.content.decode()
    assert reply.status_code == 200


def test_every_page_says_when_all_workers_are_drained(drainer):
    first, second = beating("far", 400), beating("near", 500)
    said = "All workers are drained"
    press(drainer, first, "yes")
    assert said not in text_of(drainer, "/admin/")
    press(drainer, second, "yes")
    assert said in text_of(drainer, "/admin/")
    assert "No worker is running" not in text_of(drainer, "/admin/")
    press(drainer, second, "no")
    assert said not in text_of(drainer, "/admin/")
