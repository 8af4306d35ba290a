"""Wake-ups: sent after the commit, worth nothing by themselves, and a dead broker loses nothing."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django_q.conf import Conf
from django_q.models import OrmQ

from builds import flags, queue, redis_queue, services
from builds.models import Build
from builds.supervisor import Supervisor
from jobs.models import Job
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job() -> Job:
    use_config("jobs:\n  - {id: job, function: 'tests.support.odd_jobs:value'}\n")
    return Job.objects.get(pk="job")


@pytest.fixture
def woken(monkeypatch):
    """Count wake-ups in place of sending them."""
    sent: list[int] = []

    def wake(times: int = 1, queue: str = "default") -> bool:
        sent.append(times)
        return True

    monkeypatch.setattr(queue, "wake", wake)
    return sent


def broken_broker(_name="default"):
    raise ConnectionError("nobody there")


def look() -> list[int]:
    """Have a supervisor look once; return how many of its workers it woke."""
    woken: list[int] = []
    Supervisor(woken.append).wake_for_what_waits()
    return woken


def test_a_request_wakes_once_it_is_committed_and_never_before(job, woken):
    with transaction.atomic():
        services.request_build(job=job, trigger="python")
        assert woken == []
    assert woken == [1]


def test_a_request_that_is_taken_back_wakes_nobody(job, woken):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.request_build(job=job, trigger="python")
        raise ZeroDivisionError
    assert woken == []
    assert not Build.objects.exists()


def test_a_request_leaves_nothing_when_its_second_half_fails(job, monkeypatch):
    monkeypatch.setattr(services.requests, "_hand_over", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        services.request_build(job=job, trigger="python")
    assert not Build.objects.exists()


def test_a_broker_that_is_down_leaves_the_build_queued(job, monkeypatch):
    """original #24: it gave a 500 and an orphan"""
    monkeypatch.setattr(queue, "_broker", broken_broker)
    made = services.request_build(job=job, trigger="python")
    made.refresh_from_db()
    assert made.status == "QUEUED"
    assert queue.wake() is False
    assert not queue.broker_answers()
    Build.objects.update(created=Now() - timedelta(minutes=1))
    assert look() == [1], "past the broker"


def test_a_broker_that_failed_is_opened_anew(monkeypatch):
    def fail(*_args, **_options):
        raise ConnectionError

    first = queue._broker()
    assert queue._broker() is first, "one for all messages"
    with monkeypatch.context() as patch:
        patch.setattr(queue, "async_task", fail)
        assert not queue.wake()
    second = queue._broker()
    assert second is not first
    monkeypatch.setattr(second, "ping", fail)
    assert not queue.broker_answers()
    assert queue._broker() is not second


def test_a_wake_up_says_nothing_and_leaves_nothing():
    assert queue.wake(times=3)
    assert OrmQ.objects.count() == 3
    task = OrmQ.objects.first().task
    assert task["func"] == "builds.tasks.work"
    assert (task["args"], task["kwargs"]) == ((), {})
    assert task["save"] is False


def test_as_many_are_woken_as_there_is_work_for(job, settings):
    settings.WORKERS = 3
    for number in range(1, 6):
        services.request_build(job=job, trigger="python")
        Build.objects.update(created=Now() - timedelta(minutes=1))
        assert look() == [min(number, 3)]


def test_a_young_request_is_left_to_its_own_wake_up(job):
    services.request_build(job=job, trigger="python")
    assert look() == []


def test_a_build_that_waits_for_its_time_is_woken_for_when_it_has_come(job):
    made = services.request_build(job=job, trigger="python")
    Build.objects.filter(pk=made.pk).update(not_before=Now() + timedelta(minutes=1))
    assert look() == []
    Build.objects.filter(pk=made.pk).update(not_before=Now())
    assert look() == [1]


def test_a_round_of_the_supervisor_wakes_and_a_cluster_that_stops_does_not(job, monkeypatch):
    services.request_build(job=job, trigger="python")
    Build.objects.update(created=Now() - timedelta(minutes=1))
    woken: list[int] = []
    Supervisor(woken.append).tick()
    assert woken == [1]
    monkeypatch.setattr(flags, "stopping", flags.Flag())
    flags.stopping.set()
    Supervisor(woken.append).tick()
    assert woken == [1]


# --- Queues ---------------------------------------------------------------------------------------


@pytest.fixture
def serving():
    yield queue.serve
    queue.serve(["default"])


LONG = "x" * 100
NAMES = ("default", "heavy", "other", LONG)


@pytest.fixture(params=["database", "redis"])
def broker(request, monkeypatch):
    """Make the broker of a cluster, which wake-ups are sent through too."""
    if request.param == "database":
        return queue.DatabaseBroker
    monkeypatch.setattr(Conf, "REDIS", request.getfixturevalue("redis_url"))
    monkeypatch.setattr(Conf, "BROKER_CLASS", "builds.redis_queue.RedisBroker")
    monkeypatch.setattr(queue._Kept, "brokers", {})
    client = redis_queue.RedisBroker().connection
    client.delete(*(redis_queue.redis_key(queue.key(name)) for name in NAMES))
    return redis_queue.RedisBroker


def test_a_cluster_takes_the_wake_ups_of_its_own_queues_only(broker, serving):
    for name in ("heavy", *NAMES):
        assert queue.wake(queue=name)
    serving(["heavy", LONG])
    assert [len(broker().dequeue() or []) for _ in range(4)] == [1, 1, 1, 0]
    serving(["other"])
    assert [len(broker().dequeue() or []) for _ in range(2)] == [1, 0]
    serving(["default"])
    assert [len(broker().dequeue() or []) for _ in range(2)] == [1, 0]


def test_many_builds_wake_as_many_workers_as_a_cluster_has_in_each_queue(woken_queues, settings):
    settings.WORKERS = 3
    queue.wake_each(["heavy"] * 2 + ["default"] * 9)
    assert woken_queues == {"heavy": 2, "default": 3}


@pytest.fixture
def woken_queues(monkeypatch) -> dict[str, int]:
    sent: dict[str, int] = {}
    monkeypatch.setattr(queue, "wake", lambda times, queue: sent.update({queue: times}))
    return sent


def test_wake_ups_of_the_default_queue_have_the_key_that_they_always_had():
    queue.wake()
    assert OrmQ.objects.get().key == "jobcontrol"


# --- The broker in the database -------------------------------------------------------------------


def test_a_message_is_taken_once():
    queue.wake(times=2)
    first, second = queue.DatabaseBroker(), queue.DatabaseBroker()
    taken = [*first.dequeue(), *second.dequeue()]
    assert len({pk for pk, _ in taken}) == len(taken) == 2
    assert OrmQ.objects.count() == 0


@pytest.fixture
def other_takes(monkeypatch):
    """Have another cluster take the first message while this one takes some."""
    if connection.vendor == "postgresql":
        other = connection.copy()
        other.set_autocommit(False)
        yield lambda: _take_with(other)
        other.rollback()
        other.close()
        return
    own = queue.DatabaseBroker.get_connection
    looks = count(1)

    def get_connection(_, list_key=None):
        if next(looks) == 2:  # found, and not deleted yet
            OrmQ.objects.order_by("id")[:1].get().delete()
        return own(list_key)

    yield lambda: monkeypatch.setattr(queue.DatabaseBroker, "get_connection", get_connection)


def _take_with(other):
    with other.cursor() as cursor:
        cursor.execute(queue._TAKE, [["jobcontrol"], 1])
        assert cursor.fetchone()


@pytest.mark.parametrize("times", [1, 2])
def test_a_message_that_another_cluster_takes_is_left_to_it_and_no_other(other_takes, times):
    """Of the one behind it the clusters were told already: nobody would be told again."""
    queue.wake(times=times)
    behind = list(OrmQ.objects.order_by("id").values_list("pk", flat=True))[1:]
    other_takes()
    assert [pk for pk, _ in queue.DatabaseBroker()._take()] == behind


def test_the_broker_waits_for_a_database_that_is_away(monkeypatch, caplog):
    waited, began = [], []
    monkeypatch.setattr(queue, "sleep", waited.append)
    broker = queue.DatabaseBroker()

    def fail():
        raise OperationalError("gone")

    monkeypatch.setattr(broker, "_take", fail)
    assert broker.dequeue() is None
    assert broker.dequeue() is None
    assert waited == [queue.RETRY_SECONDS] * 2
    monkeypatch.setattr(broker, "_take", list)
    monkeypatch.setattr(broker._wait, "wait", lambda *_: began.append("wait"))
    assert broker.dequeue() == []
    assert began == ["wait"]
    said = [record.getMessage() for record in caplog.records if record.name == "builds.queue"]
    assert said == [
        "no wake-ups: the database does not answer (gone)",
        "wake-ups again: the database answers",
    ]
