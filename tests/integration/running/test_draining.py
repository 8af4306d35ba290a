"""A cluster that is drained: its workers take nothing, and all else goes on."""

from __future__ import annotations

import pytest
from django.test import Client

from builds import deletion, flags, health, services, tasks
from builds.deletion_models import Deletion
from builds.models import Build
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from tests.support.clusters import beating, main_of, silence
from tests.support.leases import requested, settled

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _not_drained():
    flags.draining.clear()
    yield
    flags.draining.clear()


def own() -> Cluster:
    return Cluster.objects.get(pk=str(WorkerIdentity.current()))


def test_a_drained_cluster_takes_no_build_and_no_deletion_until_it_is_taken_up_again():
    loop = settled()
    loop.tick()
    services.drain_cluster(cluster=own())
    loop.tick()
    (made,) = requested()
    Deletion.objects.create(build_number=99, job_id="job")
    tasks.work()
    assert Build.objects.get(pk=made.pk).status == "QUEUED"
    assert deletion.run_next() is None
    assert Deletion.objects.get().state == "WAITING"
    services.undrain_cluster(cluster=own())
    loop.tick()
    tasks.work()
    assert Build.objects.get(pk=made.pk).status == "SUCCESSFUL"
    assert Deletion.objects.get().state == "DONE"


def test_a_drained_cluster_wakes_none_of_its_workers():
    woken: list[int] = []
    loop = settled(woken.append)
    loop.tick()
    services.drain_cluster(cluster=own())
    loop.tick()
    requested()
    Build.objects.update(not_before="2020-01-01T00:00:00Z")
    loop.tick()
    assert woken == []
    services.undrain_cluster(cluster=own())
    loop.tick()
    assert woken == [1]


def test_the_supervisor_says_that_it_heard_of_it_in_the_round_after():
    loop = settled()
    loop.tick()
    services.drain_cluster(cluster=own())
    loop.tick()
    assert not own().draining, "a worker may be half-way into a claim"
    loop.tick()
    assert own().draining
    services.undrain_cluster(cluster=own())
    assert not own().draining
    loop.tick()
    loop.tick()
    assert not own().draining


def test_heartbeats_leave_the_request_alone():
    cluster = beating()
    assert services.drain_cluster(cluster=cluster)
    beating(trouble="the broker does not answer.")
    assert Cluster.objects.get().drain_requested is not None
    assert services.is_to_drain(worker=main_of())
    assert not services.drain_cluster(cluster=cluster), "it is asked for already"


def test_a_request_ends_with_its_cluster():
    services.drain_cluster(cluster=beating())
    services.end_cluster(worker=main_of())
    beating()
    assert not services.is_to_drain(worker=main_of())


def test_another_request_has_to_be_heard_of_anew():
    cluster = beating(draining=True)
    services.drain_cluster(cluster=cluster)
    assert not Cluster.objects.get().draining


def test_only_the_cluster_that_was_asked_drains():
    loop = settled()
    loop.tick()
    services.drain_cluster(cluster=beating("far"))
    loop.tick()
    assert not flags.draining.is_set()


def test_heartbeats_tell_the_workers_and_their_memory():
    me = WorkerIdentity.current()
    loop = settled()
    loop._worker_pids = lambda: [me.pid, 2**22 + 1]
    loop.tick()
    (process,) = own().processes
    assert (process["pid"], process["started"]) == (me.pid, me.started)
    assert process["memory"] > 1024**2
    assert process["seconds"] >= 0


# --- Is all well? ---------------------------------------------------------------------------------


def ask(query: str = "") -> tuple[int, dict]:
    answer = Client().get(f"/healthz{query}")
    return answer.status_code, answer.json()


def test_a_site_whose_clusters_are_all_drained_has_nobody_who_takes_builds():
    first, second = beating("far"), beating("near", 500)
    services.drain_cluster(cluster=first)
    services.drain_cluster(cluster=second)
    assert ask("?worker")[0] == 503
    status, reply = ask()
    assert (status, reply["supervisor"]) == (200, "drained")
    services.undrain_cluster(cluster=first)
    status, reply = ask("?worker")
    assert (status, reply["supervisor"]) == (200, "ok")


def test_a_cluster_that_died_does_not_take_the_builds_of_a_drained_one():
    services.drain_cluster(cluster=beating("far"))
    silence(beating("near", 500), hours=1)
    status, reply = ask("?worker")
    assert (status, reply["supervisor"]) == (503, "drained")


def test_a_drained_cluster_is_in_good_health_and_says_what_it_is():
    """A container whose check failed would be stopped, and its builds with it."""
    me = WorkerIdentity.current()
    services.beat_cluster(worker=me, workers=2)
    services.drain_cluster(cluster=own())
    is_well, text = health.check_this_host()
    assert is_well
    assert "it is drained" in text
