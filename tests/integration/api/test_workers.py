"""`/api/workers/`: who works, and draining a cluster."""

from urllib.parse import quote

import pytest
from django.contrib.admin.models import LogEntry

from builds import services
from builds.api import schemas
from builds.upkeep_models import Cluster
from tests.support.clusters import beating, main_of, silence, worker_of
from tests.support.leases import claimed

pytestmark = pytest.mark.django_db(transaction=True)

SEES = ("builds.view_cluster", "builds.view_build")


@pytest.fixture
def seer(caller):
    return caller(*SEES)


@pytest.fixture
def drainer(caller):
    return caller(*SEES, "builds.drain_cluster")


def test_clusters_are_listed_with_what_their_workers_run(seer):
    beating()
    made = claimed(str(worker_of(main_of(), 2)))
    (row,) = seer.get("workers/").json()
    assert set(row) == set(schemas.Cluster.model_fields)
    assert (row["host"], row["pid"], row["queue"], row["state"]) == (
        "far",
        400,
        "default",
        "active",
    )
    assert (row["workers"], row["busy"]) == (2, 1)
    idle, busy = row["processes"]
    assert set(busy) == set(schemas.WorkerProcess.model_fields)
    assert (idle["pid"], idle["builds"], idle["memory"]) == (401, [], 50 * 1024**2)
    (running,) = busy["builds"]
    assert set(running) == set(schemas.RunningBuild.model_fields)
    assert (running["id"], running["job_id"]) == (made.pk, "job")
    assert running["start_time"] is not None


def test_a_long_list_goes_on(seer):
    for number in range(3):
        beating(f"host{number}", 100 * (number + 1))
    reply = seer.get("workers/?limit=2")
    assert [row["host"] for row in reply.json()] == ["host0", "host1"]
    assert "offset=2" in reply["Link"]
    last = seer.get("workers/?limit=2&offset=2")
    assert [row["host"] for row in last.json()] == ["host2"]
    assert "Link" not in last


def test_a_cluster_is_drained_and_taken_up_again(drainer):
    cluster = beating()
    for _ in range(2):
        reply = drainer.request("POST", f"workers/{quote(cluster.pk)}/drain")
        assert reply.status_code == 200
        assert reply.json()["state"] == "draining"
        assert reply.json()["drain_requested_by"] == drainer.user.username
    beating(draining=True)
    assert drainer.get("workers/").json()[0]["state"] == "drained"
    silence(cluster, hours=1)
    assert drainer.get("workers/").json()[0]["state"] == "lost"
    beating()
    assert drainer.request("POST", "workers/far:400/undrain").json()["state"] == "active"
    notes = LogEntry.objects.filter(object_id=cluster.pk).order_by("pk")
    assert [note.change_message for note in notes] == ["Asked it to drain.", "Took it up again."]


def test_a_name_that_two_hosts_share_is_refused_and_the_id_is_not(drainer):
    cluster = beating()
    other = main_of()
    services.beat_cluster(worker=type(other)(other.host, "ffffffffffff", other.pid, "1"), workers=1)
    reply = drainer.request("POST", "workers/far:400/drain")
    assert reply.status_code == 422
    assert cluster.pk in reply.json()["detail"]
    assert drainer.request("POST", f"workers/{quote(cluster.pk)}/drain").status_code == 200
    assert Cluster.objects.exclude(pk=cluster.pk).get().drain_requested is None


@pytest.mark.parametrize(
    "name", ["far", "far:401", "far:", ":400", "far:%00", "far:99999999999999"]
)
def test_what_is_not_there_is_told(drainer, name):
    beating()
    reply = drainer.request("POST", f"workers/{name}/drain")
    assert reply.status_code == 404
    assert "no cluster" in reply.json()["detail"]


def test_each_permission_is_asked_for(caller, seer):
    cluster = beating()
    assert (
        caller("builds.view_cluster").get("workers/").json()["detail"] == "you may not see builds."
    )
    assert (
        caller("builds.view_build").get("workers/").json()["detail"] == "you may not see workers."
    )
    reply = seer.request("POST", f"workers/{quote(cluster.pk)}/drain")
    assert reply.json()["detail"] == "you may not drain clusters."
    assert Cluster.objects.get().drain_requested is None
