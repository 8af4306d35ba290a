"""`/healthz`, `qcluster --check`, and what is said while the database is away."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test import Client

from builds import services
from builds.upkeep_models import Cluster
from builds.workers import WorkerIdentity
from jobs import registry
from jobs.config import ConfigError, Problem
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = "jobs: [{id: job, function: 'tests.support.odd_jobs:value'}]"
AWAY = "connection to server at db.internal, user jobcontrol, failed"


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


@pytest.fixture
def away(monkeypatch):
    """A database that answers nothing."""

    def fail(*_args, **_options):
        raise OperationalError(AWAY)

    monkeypatch.setattr(connection, "cursor", fail)
    monkeypatch.setattr(connection, "ensure_connection", fail)


def ask(query: str = "") -> tuple[int, dict]:
    answer = Client().get(f"/healthz{query}")
    assert answer["Content-Type"] == "application/json"
    assert "no-store" in answer["Cache-Control"]
    return answer.status_code, answer.json()


def beat(**facts) -> None:
    services.beat_cluster(worker=WorkerIdentity.current(), workers=2, **facts)


def silence(**time) -> None:
    Cluster.objects.update(last_seen=Now() - timedelta(**time))


# --- /healthz -------------------------------------------------------------------------------------


def test_all_is_well():
    beat()
    status, said = ask("?worker")
    assert status == 200
    assert 0 <= said.pop("supervisor_age") < 60
    assert said == {
        "status": "ok",
        "database": "ok",
        "registry": "ok",
        "supervisor": "ok",
        "broker": "ok",
    }


def test_pages_can_be_served_without_a_worker_and_builds_can_not_run():
    status, said = ask()
    assert (status, said["supervisor"], said["supervisor_age"]) == (200, "none", None)
    assert said["broker"] == "unknown"
    status, said = ask("?worker")
    assert (status, said["status"]) == (503, "failing")


def test_a_supervisor_that_is_silent_for_long_is_none():
    beat()
    silence(minutes=5)
    status, said = ask("?worker")
    assert (status, said["supervisor"]) == (503, "none")
    assert 290 < said["supervisor_age"] < 400


def test_a_broker_in_trouble_is_told_and_fails_nothing():
    beat(trouble="the broker at redis.internal does not answer.")
    status, said = ask("?worker")
    assert (status, said["broker"]) == (200, "trouble")
    assert "redis.internal" not in json.dumps(said)


def test_a_database_that_is_away_is_told_without_a_word_more(away):
    status, said = ask()
    assert (status, said["status"], said["database"]) == (503, "failing", "away")
    assert "internal" not in json.dumps(said)


def test_a_file_with_mistakes_is_told_while_the_last_good_one_is_in_use(monkeypatch):
    problem = Problem("a secret mistake", "rule", job="job")
    monkeypatch.setattr(registry, "problems", lambda: (problem,))
    status, said = ask()
    assert (status, said["registry"]) == (200, "mistakes")
    assert "secret" not in json.dumps(said)


def test_without_any_good_file_it_fails(monkeypatch):
    def fail():
        raise ConfigError([Problem("a secret mistake", "rule")])

    monkeypatch.setattr(registry, "configuration", fail)
    status, said = ask()
    assert (status, said["registry"]) == (503, "none")


def test_it_is_cheap(django_assert_num_queries):
    beat()
    ask()
    with django_assert_num_queries(1):
        ask()


def test_it_is_answered_without_tls_and_without_a_login(settings):
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/admin/").status_code == 301
    assert Client().head("/healthz").status_code == 200


# --- qcluster --check -----------------------------------------------------------------------------


def check() -> str:
    """Return its line; raises CommandError with it when all is not well."""
    lines: list[str] = []

    class Out:
        def write(self, text):
            lines.append(text)

    call_command("qcluster", "--check", stdout=Out())
    (line,) = lines
    return line.strip()


def refused() -> str:
    with pytest.raises(CommandError) as caught:
        check()
    assert caught.value.returncode == 1
    (line,) = str(caught.value).splitlines()
    return line


def test_a_worker_of_this_host_that_beats_is_well():
    beat()
    me = WorkerIdentity.current()
    assert check().startswith(f"process {me.pid} with 2 workers lives, last heard of ")
    beat(trouble="the broker does not answer.")
    assert check().endswith("but the broker does not answer.")


def test_a_worker_of_another_host_does_not_count():
    assert "no worker of this host" in refused()
    other = WorkerIdentity("other-host", "0123456789ab", 4321, "99")
    services.beat_cluster(worker=other, workers=2)
    assert "no worker of this host" in refused()


def test_a_worker_that_is_silent_or_gone_is_not_well():
    beat()
    silence(minutes=5)
    assert "is silent, last heard of 30" in refused()
    me = WorkerIdentity.current()
    Cluster.objects.all().delete()
    gone = WorkerIdentity(me.host, me.host_id, me.pid, "1")
    services.beat_cluster(worker=gone, workers=2)
    assert "is gone" in refused()


def test_the_newest_worker_of_this_host_counts():
    me = WorkerIdentity.current()
    services.beat_cluster(worker=WorkerIdentity(me.host, me.host_id, me.pid, "1"), workers=2)
    silence(seconds=5)
    beat()
    assert "lives" in check()


def test_one_that_was_killed_a_moment_ago_does_not_hide_another_that_lives():
    me = WorkerIdentity.current()
    beat()
    silence(seconds=4)
    services.beat_cluster(worker=WorkerIdentity(me.host, me.host_id, me.pid, "1"), workers=3)
    assert check().startswith(f"process {me.pid} with 2 workers lives")


def test_a_database_that_is_away_is_not_well(away):
    assert refused() == f"the database does not answer: {AWAY}"


# --- Pages while the database is away -------------------------------------------------------------


def browse(address: str, client: Client):
    client.raise_request_exception = False
    return client.get(address)


def test_pages_say_that_the_database_is_away(admin_client, away):
    for address in ("/admin/", "/admin/jobs/job/", "/admin/login/"):
        answer = browse(address, admin_client)
        if answer.status_code == 200:
            continue  # it needed no database
        page = answer.content.decode()
        assert answer.status_code == 503
        assert answer["Retry-After"] == "5"
        assert "The database does not answer" in page
        assert "Traceback" not in page
        assert "internal" not in page


def test_the_api_says_so_in_json(admin_client, away):
    answer = browse("/api/job", admin_client)
    assert answer.status_code == 503
    assert answer.json() == {"detail": "the database does not answer; try again in a moment."}


def test_other_errors_stay_what_they_were(admin_client, monkeypatch):
    monkeypatch.setattr("builds.context_processors.is_any_alive", lambda: 1 / 0)
    answer = browse("/admin/", admin_client)
    assert answer.status_code == 500
    assert "database" not in answer.content.decode()
