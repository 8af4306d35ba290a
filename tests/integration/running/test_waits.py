"""Waiting for a message in the database: by LISTEN on PostgreSQL, by `data_version` on SQLite.

Where a wait has to be cut short it would last for an hour.
"""

from __future__ import annotations

import os
import threading

import pytest
from django.db import NotSupportedError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from builds import flags, queue, waits

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60)]

IS_POSTGRES = os.environ.get("JOBCONTROL_TEST_DB", "sqlite") == "postgres"


@pytest.fixture
def patient(monkeypatch):
    """Nobody looks for messages by themselves."""
    monkeypatch.setattr(waits, "WAIT_SECONDS", 3600)
    monkeypatch.setattr(queue.Conf, "POLL", 3600)


@pytest.fixture
def broker():
    yield queue.DatabaseBroker()
    connection.close()  # it listens


def elsewhere(function, *args, **options):
    """Do it in a thread of its own, thus on another connection, in a moment."""

    def run():
        try:
            function(*args, **options)
        finally:
            connection.close()

    timer = threading.Timer(0.2, run)
    timer.start()
    return timer


def test_a_wait_ends_with_a_message(broker, patient):
    timer = elsewhere(queue.wake)
    assert broker.dequeue() == []
    assert len(broker.dequeue()) == 1
    timer.join()


def test_a_message_that_came_between_the_look_and_the_wait_is_not_missed(broker, patient):
    class Late(queue.DatabaseBroker):
        def _take(self):
            taken = super()._take()
            if not taken:
                elsewhere(queue.wake).join()
            return taken

    late = Late()
    assert late.dequeue() == []
    assert len(late.dequeue()) == 1


def test_a_wait_ends_when_the_cluster_stops(broker, patient):
    timer = elsewhere(flags.stopping.set)
    try:
        assert broker.dequeue() == []
    finally:
        timer.join()
        flags.stopping.clear()


def test_a_wait_ends_by_itself(broker, monkeypatch):
    monkeypatch.setattr(waits, "WAIT_SECONDS", 0.01)
    assert broker.dequeue() == []
    broker.overhear()


def test_who_did_not_take_messages_yet_overhears_nothing():
    queue.DatabaseBroker().overhear()


if IS_POSTGRES:

    @pytest.fixture
    def heard():
        """Return what was told until now."""
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {waits.CHANNEL}")
        yield lambda: [one.payload for one in connection.connection.notifies(timeout=0)]
        connection.close()

    def test_a_message_and_the_word_of_it_are_one_statement(heard):
        with CaptureQueriesContext(connection) as asked:
            queue.wake(queue="heavy")
        assert len(asked) == 1
        assert OrmQ.objects.get().key == "jobcontrol:heavy"
        assert OrmQ.objects.get().task["func"] == queue.WORK
        assert heard() == ["jobcontrol:heavy"]

    def test_a_message_that_is_taken_back_is_not_told(heard):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            queue.wake()
            raise ZeroDivisionError
        assert heard() == []
        assert not OrmQ.objects.exists()

    def test_a_message_in_another_queue_does_not_end_a_wait(broker, monkeypatch):
        monkeypatch.setattr(queue.Conf, "POLL", 0.5)
        waiting, told = waits.Listening(), []
        waiting.begin(connection)
        elsewhere(queue.wake, queue="heavy").join()
        monkeypatch.setattr(waits, "WAIT_SECONDS", 3600)
        timer = elsewhere(queue.wake, queue="default")
        real = waiting._hear
        monkeypatch.setattr(waiting, "_hear", lambda *args: told.append(real(*args)) or told[-1])
        waiting.wait(connection, ["jobcontrol"], 3600)
        timer.join()
        assert [one for one in told if one] == [["jobcontrol:heavy"], ["jobcontrol"]]

    def test_what_was_told_while_there_was_no_room_is_read(broker, patient):
        elsewhere(queue.broker_answers).join()
        timer = elsewhere(queue.wake)
        assert broker.dequeue() == []
        timer.join()
        elsewhere(queue.wake).join()
        broker.overhear()
        told = connection.connection.notifies(timeout=0)
        assert list(told) == []

    def test_a_connection_made_anew_listens_too(broker, patient):
        timer = elsewhere(queue.wake)
        assert broker.dequeue() == []
        timer.join()
        assert len(broker.dequeue()) == 1
        connection.close()
        timer = elsewhere(queue.wake)
        assert broker.dequeue() == []
        timer.join()
        assert len(broker.dequeue()) == 1

    def test_who_may_not_listen_polls(broker, monkeypatch, caplog):
        class Refused:
            def __getattr__(self, name):
                return getattr(connection, name)

            def cursor(self):
                raise NotSupportedError("not here")

        refused = Refused()
        caplog.set_level("INFO", "builds.waits")
        waiting = waits.Listening()
        for _ in range(2):
            waiting.begin(refused)
            waiting.wait(connection, ["jobcontrol"], 0.01)
        (said,) = [record.getMessage() for record in caplog.records]
        assert said.endswith("the database does not tell of them (not here)")


# --- For how long one waits -----------------------------------------------------------------------


class Ear(waits.Listening):
    """One that hears what a test lets it, in time that passes by itself."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        self.told: list[str] = []
        monkeypatch.setattr(waits, "monotonic", lambda: self.now)
        super().__init__()

    def _hear(self, _connection, seconds):
        self.now += seconds
        heard, self.told = self.told, []
        return self._note(heard)

    def waits_for(self) -> float:
        begin = self.now
        self.wait(connection, ["mine"], 0.05)
        return round(self.now - begin, 3)


@pytest.fixture
def ear(monkeypatch, settings):
    settings.HEARTBEAT_SECONDS = 5
    return Ear(monkeypatch)


def test_nobody_waits_for_long_who_has_not_heard_anything(ear, caplog):
    caplog.set_level("INFO", "builds.waits")
    assert [ear.waits_for() for _ in range(3)] == [0.05] * 3
    ear.told = [""]  # of a cluster that lives
    assert ear.waits_for() == 0.05
    assert [ear.waits_for() for _ in range(3)] == [waits.WAIT_SECONDS] * 3
    assert caplog.messages == []


def test_a_message_of_ones_own_ends_the_wait(ear):
    ear.told = ["mine"]
    ear.waits_for()
    ear.told = ["other"]
    assert ear.waits_for() == waits.WAIT_SECONDS
    ear.told = ["other", "mine"]
    assert ear.waits_for() < waits.WAIT_SECONDS


def test_who_heard_nothing_for_three_heartbeats_polls_and_says_so_once(ear, caplog):
    caplog.set_level("INFO", "builds.waits")
    ear.told = [""]
    ear.waits_for()
    while ear.now < 15:
        ear.waits_for()
    ear.now += 1
    assert [ear.waits_for() for _ in range(3)] == [0.05] * 3
    ear.told = [""]
    ear.waits_for()
    assert ear.waits_for() == waits.WAIT_SECONDS
    assert [text.split(":")[0] for text in caplog.messages] == [
        "wake-ups are polled for",
        "wake-ups are told by the database",
    ]
