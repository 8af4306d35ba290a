"""The record when the database, or the lease, is not what it should be."""

from __future__ import annotations

import logging
import threading
import uuid

import pytest
from django.db import DataError, OperationalError, connection

from builds import bulk, recorder, runner, services
from builds.logs import LogBuffer, LogEntry
from builds.models import Build, LogMessage
from builds.sessions import BuildSession
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import LeaseLost
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support.jobs import build_function, messages, use_config
from tests.support.leases import settled
from tests.support.site import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"


def test_observations_that_can_not_be_written_never_fail_a_build(monkeypatch):
    """Records are dropped with a marker; the outcome stands."""
    store = services.observations.store_observations

    def refuse(*, session, entries, nodes):
        if entries or nodes:
            raise DataError("no")
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", refuse)
    build = build_function(ODD + "log_many", 100)
    assert build.status == "SUCCESSFUL"
    assert messages(build) == []


@pytest.mark.parametrize("part", ["levelno", "lineno"])
def test_records_of_which_no_row_can_be_made_never_fail_a_build(part):
    build = build_function(ODD + "log_what_makes_no_row", part)
    assert build.status == "SUCCESSFUL"
    assert "log records were dropped here" in messages(build)[-1]


def test_rows_are_made_before_the_database_is_locked(monkeypatch):
    """On SQLite nobody else would get to write while a job logs without a pause."""
    values, locked = bulk._values, []

    def note(entry, *others):
        locked.append(connection.in_atomic_block)
        return values(entry, *others)

    monkeypatch.setattr(bulk, "_values", note)
    session = BuildSession(build_function(ODD + "value", 1).pk, uuid.uuid4(), Redactor({}))
    del locked[:]
    entries = [LogEntry(0.0, logging.INFO, "job", "line")] * 3
    services.observations.store_observations(session=session, entries=entries, nodes=[])
    assert locked == [False] * 3


def test_a_database_that_comes_back_gets_everything(monkeypatch):
    store, failures = services.observations.store_observations, iter(range(3))

    def fail_at_first(*, session, entries, nodes):
        if next(failures, None) is not None:
            raise OperationalError("gone for a moment")
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", fail_at_first)
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.01)
    build = build_function(ODD + "log_many", 100)
    assert build.status == "SUCCESSFUL"
    own = [line for line in messages(build) if line.startswith("message")]
    assert own == [f"message {number}" for number in range(100)]


def test_records_wait_for_a_database_that_is_away_as_long_as_there_is_room(monkeypatch, caplog):
    """They are dropped when the buffer is full, and only then; the process says so once."""
    monkeypatch.setattr("builds.logs.MAX_WAITING", 50)
    monkeypatch.setattr(recorder, "REST_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)
    store, tries = services.observations.store_observations, []
    away = threading.Event()
    away.set()

    def fail_while_away(*, session, entries, nodes):
        tries.append(len(entries))
        if away.is_set():
            raise OperationalError("away")
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", fail_while_away)
    use_config("jobs:\n  - id: job\n    function: tests.support.odd_jobs:value\n")
    services.request_build(job=Job.objects.get(pk="job"), trigger="python")
    build = services.claim(worker=WorkerIdentity.current())
    scribe, session = recorder.Recorder(), BuildSession(build.pk, build.claim_token, Redactor({}))
    scribe.open(session)
    for number in range(40):
        session.logs.say(logging.INFO, f"line {number}")
    wait_until(lambda: len(tries) > 2 * recorder.MAX_FAILED_WRITES)
    for number in range(40, 200):
        session.logs.say(logging.INFO, f"line {number}")
    away.clear()
    wait_until(lambda: len(session.logs) == 0 and session.logs.healthy)
    scribe.close(session)
    scribe.stop()
    found = messages(build)
    kept = [line for line in found if line.startswith("line ")]
    assert kept == [f"line {number}" for number in range(len(kept))]
    assert 40 <= len(kept) < 100
    assert f"{200 - len(kept)} log records were dropped here" in "".join(found)
    said = [record.message for record in caplog.records if record.name == "builds.recorder"]
    assert len(said) == 2, said


def test_an_outcome_that_is_never_taken_ends_the_worker(monkeypatch, settings):
    settings.HEARTBEAT_SECONDS, settings.LEASE_SECONDS = 0.1, 0.3
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.05)

    def refuse(**_options):
        raise OperationalError("locked")

    monkeypatch.setattr(services, "finish_build", refuse)
    with pytest.raises(SystemExit, match="did not take its outcome"):
        build_function(ODD + "value", 1)
    assert Build.objects.get().status == "RUNNING"


def test_only_the_holder_of_the_token_may_finish(monkeypatch):
    """A process that lost its lease changes nothing any more."""
    taken = uuid.uuid4()

    def take_over(build_id):
        Build.objects.filter(pk=build_id).update(claim_token=taken)

    execute = runner._execute

    def lose_lease(build, session, scribe):
        outcome = execute(build, session, scribe)
        take_over(build.pk)
        return outcome

    monkeypatch.setattr(runner, "_execute", lose_lease)
    build = build_function(ODD + "value", 1)
    assert build.status == "RUNNING"
    assert build.claim_token == taken
    assert build.payload.retval is None


def test_a_final_state_never_changes():
    build = build_function(ODD + "value", 1)
    outcome = services.Outcome(status=Build.Status.FAILED)
    with pytest.raises(LeaseLost):
        services.leases._close(build.pk, build.claim_token, outcome)
    assert not services.close_build(build=build, outcome=LOST, lease_seconds=None)
    assert not services.beat(build_id=build.pk, token=build.claim_token)
    build.refresh_from_db()
    assert build.status == "SUCCESSFUL"


def running_build(worker: str) -> Build:
    use_config("jobs:\n  - id: job\n    function: tests.support.odd_jobs:value\n")
    services.request_build(job=Job.objects.get(pk="job"), trigger="python")
    build = services.claim(worker=WorkerIdentity.current())
    Build.objects.filter(pk=build.pk).update(worker=worker)
    return build


def tick():
    settled().tick()


LOST = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")
ELSEWHERE = "other-host:0123456789ab:4321:99"


def test_a_build_of_another_host_is_closed_when_its_lease_is_over(settings):
    from datetime import timedelta

    from django.db.models.functions import Now

    build = running_build(ELSEWHERE)
    tick()
    build.refresh_from_db()
    assert build.status == "RUNNING", "its lease is not over"
    Build.objects.filter(pk=build.pk).update(
        heartbeat=Now() - timedelta(seconds=settings.LEASE_SECONDS + 1)
    )
    tick()
    build.refresh_from_db()
    assert (build.status, build.failure_kind) == ("FAILED", "worker_lost")
    assert "process 4321 on other-host" in build.exception_message
    assert "last seen 20" in build.exception_message
    assert messages(build)[-1] == f"Build failed: {build.exception_message}"


def test_a_dead_process_of_this_host_is_noticed_before_its_lease_is_over():
    me = WorkerIdentity.current()
    build = running_build(f"{me.host}:{me.host_id}:{me.pid}:1")
    tick()
    build.refresh_from_db()
    assert build.failure_kind == "worker_lost"


def test_a_heartbeat_between_look_and_close_keeps_the_build(settings):
    build = running_build(ELSEWHERE)
    assert not services.close_build(build=build, outcome=LOST, lease_seconds=settings.LEASE_SECONDS)
    build.refresh_from_db()
    assert build.status == "RUNNING"


def test_a_broken_line_of_worker_does_not_stop_the_supervisor():
    build = running_build("no worker at all")
    tick()
    build.refresh_from_db()
    assert build.status == "RUNNING"


def test_a_full_buffer_drops_with_a_marker(monkeypatch):
    monkeypatch.setattr("builds.logs.MAX_WAITING", 10)
    buffer = LogBuffer()
    for number in range(25):
        buffer.add(LogEntry(0.0, logging.INFO, "job", f"line {number}"))
    taken = buffer.take(100)
    assert [entry.message for entry in taken[:10]] == [f"line {n}" for n in range(10)]
    assert len(taken) == 11
    assert taken[-1].message.startswith("15 log records were dropped")
    assert taken[-1].level == logging.WARNING
    assert buffer.take(100) == []


def test_the_recorder_can_be_stopped_and_used_again():
    recorder.recorder().stop()
    assert build_function(ODD + "value", 1).status == "SUCCESSFUL"


def test_nothing_of_a_build_is_being_written_any_more_when_it_is_closed(monkeypatch):
    """Its rows may be deleted, and its tables emptied, from then on."""
    scribe = recorder.recorder()
    session = BuildSession(1, uuid.uuid4(), Redactor({}))
    writing, may_end, steps = threading.Event(), threading.Event(), []

    def store_slowly(**_options):
        writing.set()
        may_end.wait(60)
        steps.append("written")

    monkeypatch.setattr(services.observations, "store_observations", store_slowly)
    scribe.open(session)
    session.logs.say(logging.INFO, "a line")
    assert writing.wait(60)
    threading.Timer(0.2, may_end.set).start()
    scribe.close(session)
    steps.append("closed")
    assert steps == ["written", "closed"]


@pytest.mark.parametrize("number", [1, bulk.GROUP - 1, bulk.GROUP, 3 * bulk.GROUP + 1])
def test_rows_are_stored_in_order_and_whole(number):
    """On SQLite some at a time, and the rest by themselves."""
    build = build_function(ODD + "value", 1)
    session = BuildSession(build.pk, uuid.uuid4(), Redactor({}))
    made = [
        LogEntry(
            1_800_000_000.0 + at / 2, logging.INFO, "many", f"line\t{at}\\\n", "f.py", at, "work"
        )
        for at in range(number)
    ]
    services.observations.store_observations(session=session, entries=made, nodes=[])
    rows = list(LogMessage.objects.filter(logger="many").order_by("pk"))
    assert [row.message for row in rows] == [one.message for one in made]
    assert [row.created.timestamp() for row in rows] == [one.created for one in made]
    assert [row.place for row in rows] == [f"f.py:{at} work" for at in range(number)]
