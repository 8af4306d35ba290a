"""The nightly upkeep: once a night, in small steps, gone on with after a fault."""

import logging
import time
from datetime import datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone

from builds import housekeeping, retention
from builds.deletion_models import Deletion
from builds.housekeeping import Housekeeping
from builds.models import Build, LogMessage
from builds.supervisor import Supervisor
from builds.token_models import UsedNonce
from builds.upkeep_models import BulkDeletion, BulkDeletionPart, Cluster, Night
from jobs import registry
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

JOBS = """
jobs:
  - {id: plain, function: "tests.support.odd_jobs:value"}
retention:
  builds: {count: 2}
"""
DAY = timedelta(days=1)


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 24, 3, 30, tzinfo=timezone.get_default_timezone())

    def localtime(self):
        return self.now


@pytest.fixture
def clock(monkeypatch, transactional_db):
    """The time of day as the housekeeping sees it; a look at the night is due at once."""
    made = Clock()
    monkeypatch.setattr(housekeeping, "timezone", made)
    monkeypatch.setattr(housekeeping, "LOOK_SECONDS", 0.0)
    use_config(JOBS)
    return made


def cluster(name):
    made = Housekeeping()
    made._identity = name
    return made


def work_through(*clusters):
    """Let all of them step until the night is over."""
    for _ in range(200):
        for one in clusters:
            one.step()
        if not Night.objects.filter(ended=None).exists():
            return
    raise AssertionError("the night does not end")


def old_rows(count=5_000):
    """Much that is to go, and a little that stays."""
    long_ago = timezone.now() - 400 * DAY
    made = [build("plain") for _ in range(4)]
    LogMessage.objects.bulk_create(
        LogMessage(build=made[3], created=long_ago, level=20, logger="x", message="m")
        for _ in range(count)
    )
    for name, created in (("old", long_ago), ("new", timezone.now())):
        UsedNonce.objects.create(nonce=name, created=created)
        Session.objects.create(session_key=name, session_data="", expire_date=created + 90 * DAY)
        Cluster.objects.create(
            identity=name, host="h", pid=1, workers=1, started=created, last_seen=created
        )
        bulk = BulkDeletion.objects.create(count=1, created=created)
        BulkDeletionPart.objects.create(bulk=bulk, numbers=[made[3].pk])
        Night.objects.create(
            date=(created - DAY).date(), worker="w", started=created, last_seen=created,
            ended=created,
        )  # fmt: skip
    return made


def test_a_night_takes_away_what_nobody_needs_and_says_so(clock, caplog):
    caplog.set_level(logging.INFO, logger="builds.housekeeping")
    made = old_rows()
    work_through(cluster("a"))
    assert not LogMessage.objects.filter(message="m").exists()
    assert LogMessage.objects.filter(build=made[3]).exists()
    assert list(UsedNonce.objects.values_list("nonce", flat=True)) == ["new"]
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
    assert list(Cluster.objects.values_list("identity", flat=True)) == ["new"]
    assert BulkDeletion.objects.count() == BulkDeletionPart.objects.count() == 1
    assert set(Deletion.objects.values_list("build_number", "pruned", "state")) == {
        (one.pk, True, "WAITING") for one in made[:2]
    }
    assert Night.objects.count() == 2
    (line,) = [one for one in caplog.messages if "is done" in one]
    assert "5,000 log messages, 2 builds, 3 old nonces and other records, 1 dead clusters" in line


def test_once_a_night_over_any_number_of_clusters(clock, caplog):
    caplog.set_level(logging.INFO, logger="builds.housekeeping")
    clusters = [cluster(name) for name in "abc"]
    clock.now = clock.now.replace(hour=2)
    for one in clusters:
        one.step()
    assert not Night.objects.exists(), "it is not due yet"
    clock.now = clock.now.replace(hour=3)
    work_through(*clusters)
    for one in clusters:
        one.step()
    assert Night.objects.count() == 1
    assert len([one for one in caplog.messages if "begins" in one]) == 1
    clock.now += DAY
    work_through(*clusters)
    assert len([one for one in caplog.messages if "is done" in one]) == 2


def test_another_cluster_goes_on_when_the_first_one_died(clock, monkeypatch):
    old_rows()
    monkeypatch.setattr(housekeeping, "STEP_SECONDS", 0.0001)
    monkeypatch.setattr(housekeeping, "HOLD_SECONDS", 0.0)
    first, second = cluster("a"), cluster("b")
    first.step()
    first.step()
    second.step()
    night = Night.objects.get(ended=None)
    assert night.worker == "a", "it still says that it goes on"
    Night.objects.update(last_seen=timezone.now() - timedelta(minutes=20))
    work_through(second)
    assert Night.objects.get(date=night.date).worker == "b"
    assert not LogMessage.objects.filter(message="m").exists()
    first.step()  # it was only very slow: it finds out, and does no more
    assert first._night is None


def test_a_fault_of_the_database_is_gone_on_after(clock, monkeypatch):
    old_rows()
    one = cluster("a")
    monkeypatch.setattr(housekeeping, "STEP_SECONDS", 0.0001)
    one.step()
    one.step()

    def fail(rules):
        raise OperationalError("the server closed the connection")
        yield

    one._work = fail(())
    with pytest.raises(OperationalError):
        one.step()
    work_through(one)
    assert not LogMessage.objects.filter(message="m").exists()


def test_a_wrong_file_prunes_nothing(clock, monkeypatch):
    old_rows()

    def wrong():
        raise registry.ConfigError([])

    monkeypatch.setattr(housekeeping.registry, "configuration", wrong)
    cluster("a").step()
    assert not Night.objects.filter(ended=None).exists()
    assert LogMessage.objects.filter(message="m").exists()


def test_a_step_is_short_however_much_there_is(clock, monkeypatch):
    """The loop never stands still: what does not fit is left to the next tick."""
    old_rows(20_000)
    monkeypatch.setattr(retention, "CHUNK", 200)
    one = cluster("a")
    steps = []
    while not steps or Night.objects.filter(ended=None).exists():
        begun = time.monotonic()
        one.step()
        steps.append(time.monotonic() - begun)
    assert len(steps) > 1 or steps[0] < housekeeping.STEP_SECONDS
    assert min(steps) < 0.5
    assert sorted(steps)[len(steps) // 2] < 0.5


def test_the_supervisor_does_it_in_its_ticks(clock):
    made = old_rows(10)
    supervisor = Supervisor(lambda times: None)
    for _ in range(100):
        supervisor.tick()
        if Night.objects.filter(date=clock.now.date()).exclude(ended=None).exists():
            break
    assert not LogMessage.objects.filter(message="m").exists()
    assert Build.objects.filter(deleting=True).count() == 2
    assert made


def test_it_looks_a_while_after_the_start_only():
    made = Housekeeping()
    made.step()
    assert not Night.objects.exists()
