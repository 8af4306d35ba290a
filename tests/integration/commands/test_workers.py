"""`list_workers` and `drain_cluster`."""

import pytest

from builds import services
from builds.management.commands import drain_cluster
from builds.models import Build
from builds.upkeep_models import Cluster
from tests.support.clusters import beating, main_of, silence, worker_of
from tests.support.commands import run, run_json
from tests.support.leases import claimed

pytestmark = pytest.mark.django_db(transaction=True)


def test_workers_are_listed_with_what_they_run():
    assert run("list_workers").out.startswith("No worker has been started")
    assert run_json("list_workers") == []
    beating(trouble="the broker does not answer.")
    made = claimed(str(worker_of(main_of(), 1)))
    (row,) = run_json("list_workers")
    assert (row["host"], row["state"], row["busy"]) == ("far", "active", 1)
    out = run("list_workers").out
    assert "far:400" in out
    assert "the broker does not answer." in out
    assert f"#{made.pk} of job" in out
    assert "50.0 MB" in out


def test_a_cluster_is_drained_and_taken_up_again():
    cluster = beating()
    (row,) = run_json("drain_cluster", "far:400")
    assert row["state"] == "draining"
    assert Cluster.objects.get(pk=cluster.pk).drain_requested is not None
    beating(draining=True)
    assert "nothing runs there" in run("drain_cluster", "far:400").out
    assert "drained" in run("list_workers").out
    assert "takes builds" in run("drain_cluster", cluster.pk, "--undo").out
    assert Cluster.objects.get(pk=cluster.pk).drain_requested is None


def test_none_is_drained_if_one_is_not_there():
    beating()
    result = run("drain_cluster", "far:400", "far:7")
    assert result.code == 2
    assert "'far:7'" in result.err
    assert Cluster.objects.get().drain_requested is None
    assert run("drain_cluster", "far:400", "--undo", "--wait").code == 2


def test_it_waits_until_nothing_runs_there(monkeypatch):
    cluster = beating()
    made = claimed(str(worker_of(main_of(), 1)))
    rounds = []

    def one_round(_seconds):
        rounds.append(1)
        assert Cluster.objects.get().drain_requested is not None
        beating(draining=True)
        if len(rounds) == 3:
            Build.objects.filter(pk=made.pk).update(status="SUCCESSFUL")

    monkeypatch.setattr(drain_cluster, "sleep", one_round)
    (row,) = run_json("drain_cluster", "far:400", "--wait")
    assert (row["state"], len(rounds)) == ("drained", 3)
    assert cluster.pk == row["id"]


@pytest.mark.parametrize("end", ["stopped", "lost"])
def test_it_does_not_wait_for_a_cluster_that_has_gone(monkeypatch, end):
    cluster = beating()
    claimed(str(worker_of(main_of(), 1)))

    def go(_seconds):
        if end == "stopped":
            services.end_cluster(worker=main_of())
        else:
            silence(cluster, hours=1)

    monkeypatch.setattr(drain_cluster, "sleep", go)
    rows = run_json("drain_cluster", "far:400", "--wait")
    assert [row["state"] for row in rows] == ([] if end == "stopped" else ["lost"])
