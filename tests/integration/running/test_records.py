"""What is stored of a build: bounded, updated in place, and as much of it as the database takes."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import DataError, OperationalError, connection

from builds import recorder, retvals, runner, services
from builds.models import Build
from jobs import registry
from tests.support.jobs import build, build_function, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"
WATCHED = "tests.support.watched_jobs:"
SPOILING = "tests.support.spoiling_jobs:"


def retval_of(made: Build):
    return retvals.unseal(made.pk, bytes(made.payload.retval))


def test_a_later_report_is_written_over_the_earlier_one():
    made = build_function(WATCHED + "report_again_when_written")
    assert retval_of(made) is True
    rows = {row.group_name: row for row in made.progress.all()}
    assert set(rows) == {'["part"]', '["other"]'}
    part = rows['["part"]']
    assert (part.current, part.total, part.status_line, part.position) == (2, 8, "second", 0)
    assert rows['["other"]'].position == 1


def test_bars_that_are_one_once_they_are_masked_are_one_row():
    use_config(
        """
        secret: {one: hunter22-hunter22, two: trustno1-trustno1}
        jobs: [{id: job, function: "tests.integration.running.test_records:report_twice",
                args: [!secret one, !secret two]}]
        """
    )
    made = build("job")
    assert made.status == "SUCCESSFUL"
    (row,) = made.progress.all()
    assert json.loads(row.group_name) == ["•••"]
    assert row.current == 2


def report_twice(one, two):
    from jobcontrol.globals import current_app

    current_app.report_progress((one,), 1, 2)
    current_app.report_progress((two,), 2, 2)


def test_every_stored_text_has_a_limit():
    made = build_function(WATCHED + "show_text", 3_000_000)
    assert made.status == "SUCCESSFUL"
    assert len(made.payload.retval_text) <= runner.MAX_RETVAL_TEXT
    assert len(retval_of(made)) == 3_000_000
    made = build_function(WATCHED + "fail_at_length", 300_000)
    assert made.status == "FAILED"
    assert len(made.exception_type) <= 300
    assert len(made.exception_message) <= runner.MAX_MESSAGE
    assert len(json.dumps(made.payload.traceback)) < 1_000_000
    assert max(map(len, messages(made))) < 70_000


def test_many_records_are_written_in_pieces(monkeypatch):
    store, sizes = services.observations.store_observations, []

    def count(*, session, entries, nodes):
        sizes.append(len(entries))
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", count)
    # Nothing is written before the end.
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 60.0)
    made = build_function(ODD + "log_many", 4_500)
    assert made.log_messages.filter(logger="tests.support.odd_jobs").count() == 4_500
    assert max(sizes) <= recorder.CHUNK


def test_nothing_is_written_while_a_build_begins(monkeypatch):
    """A call that holds the interpreter would keep the transaction open, and SQLite locked."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 60.0)
    use_config("jobs: [{id: job, function: 'm:f'}]")
    made = Build.objects.create(job_id="job", status="RUNNING", claim_token=uuid.uuid4())
    session = runner.BuildSession(made.pk, made.claim_token, registry.redactor())
    session.logs.say(20, "one")
    scribe = recorder.Recorder()
    scribe.open(session)
    try:
        for _ in range(3):  # each time its loop goes round
            scribe.call(lambda: None)
        assert messages(made) == []
        session.opened -= 60
        scribe.call(lambda: None)
        scribe.call(lambda: None)
        assert messages(made) == ["one"]
    finally:
        scribe.close(session)
        scribe.stop()


def fail_at_first(monkeypatch, times, error):
    """Let storing of observations fail some times; return how often it was tried."""
    store, tried = services.observations.store_observations, []

    def fail(*, session, entries, nodes):
        if entries or nodes:
            tried.append(1)
            if len(tried) <= times:
                raise error
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", fail)
    monkeypatch.setattr(runner, "RETRY_SECONDS", 0.01)
    return tried


def test_reports_survive_a_database_that_is_away_for_a_moment(monkeypatch):
    reconnected = []
    reconnect = recorder.Recorder.reconnect

    def count(self):
        reconnected.append(1)
        reconnect(self)

    monkeypatch.setattr(recorder.Recorder, "reconnect", count)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 60.0)
    tried = fail_at_first(monkeypatch, 3, OperationalError("gone"))
    made = build_function(ODD + "report_tree")
    assert len(tried) > 3
    assert reconnected
    assert made.status == "SUCCESSFUL"
    assert {row.group_name: row.current for row in made.progress.all()} == {
        '["b", "one"]': 1,
        '["b", "two"]': 4,
        '["a"]': 4,
    }


def test_records_that_were_dropped_leave_a_marker(monkeypatch):
    store = services.observations.store_observations

    def refuse(*, session, entries, nodes):
        if any(entry.message.startswith("message") for entry in entries):
            raise DataError("no")
        store(session=session, entries=entries, nodes=nodes)

    monkeypatch.setattr(services.observations, "store_observations", refuse)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 60.0)
    made = build_function(ODD + "log_many", 100)
    assert made.status == "SUCCESSFUL"
    (line,) = messages(made)
    assert line.startswith("102 log records were dropped")


def test_what_can_never_be_written_is_dropped_to_bound_the_memory(monkeypatch):
    scribe = recorder.Recorder()
    monkeypatch.setattr(recorder, "MAX_FAILED_WRITES", 3)
    use_config("jobs: [{id: job, function: 'm:f'}]")
    made = Build.objects.create(job_id="job", status="RUNNING")
    session = runner.BuildSession(made.pk, made.claim_token, registry.redactor())
    session.logs.say(20, "one")

    def refuse(**_options):
        raise DataError("no")

    with monkeypatch.context() as patch:
        patch.setattr(services.observations, "store_observations", refuse)
        for expected in (0, 0, 1):
            assert not scribe._flush(session)
            assert connection.connection is None, "the next try has a new one"
            assert session.logs.dropped == expected
            assert not session.logs.healthy
    assert scribe._flush(session)
    assert session.logs.healthy
    assert [line.partition(":")[0] for line in messages(made)] == [
        "1 log records were dropped here"
    ]


def test_what_is_called_on_the_recorder_s_thread_raises_in_the_caller_s():
    with pytest.raises(ZeroDivisionError):
        recorder.recorder().call(lambda: 1 / 0)
    assert recorder.recorder().call(lambda: 7) == 7


def test_a_worker_follows_the_file_before_it_claims(monkeypatch):
    followed = []
    monkeypatch.setattr(registry, "ensure_current", lambda **_: followed.append(1))
    assert runner.run_next() is None
    assert followed == [1]


def test_a_forked_child_has_nothing_of_its_parent_s():
    made = build_function(SPOILING + "fork_and_look")
    assert made.status == "SUCCESSFUL", made.exception_message
    assert retval_of(made) == [0, False]


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("skip", 0), ("raise", 1)])
def test_a_forked_child_that_comes_back_ends_with_a_code(how, code):
    assert retval_of(build_function(SPOILING + "fork_and_come_back", how)) == code


def test_a_value_whose_pickling_raises_anything_fails_the_build_naming_it():
    """original #21"""
    made = build_function(WATCHED + "return_quitter")
    assert (made.status, made.failure_kind) == ("FAILED", "serialization")
    assert "['pages'][0] (tests.support.watched_jobs.Quitter)" in made.exception_message
    assert "SystemExit" in made.exception_message
