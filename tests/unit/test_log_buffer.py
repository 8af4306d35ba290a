"""The buffer between a job and the recorder's thread: bounded, in order, and never in the way."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from builds import bulk, logs
from builds.logs import CaptureHandler, LogBuffer, LogEntry, entry_from_record
from jobs.redaction import Redactor

NOTHING = Redactor({})
SECRETS = Redactor({"token": "hunter22-hunter22"})


def entry(message: str) -> LogEntry:
    return LogEntry(0.0, logging.INFO, "job", message)


def said(entries: list[LogEntry]) -> list[str]:
    return [one.message for one in entries]


def captured(made: logging.LogRecord, redactor: Redactor = NOTHING) -> LogEntry:
    return LogEntry._make(entry_from_record(made, redactor))


def row_values(taken: LogEntry, redactor: Redactor) -> dict[str, object]:
    (values,) = bulk.log_values([taken], build_id=1, redactor=redactor)
    return dict(zip(bulk.COLUMNS, values, strict=True))


def record(message: object, *args: object, **options: object) -> logging.LogRecord:
    return logging.LogRecord("job", logging.INFO, "/a/file.py", 7, message, args, None, **options)


def test_records_put_back_come_before_newer_ones():
    buffer = LogBuffer()
    for text in ("one", "two", "three"):
        buffer.add(entry(text))
    taken = buffer.take(2)
    buffer.give_back(taken)
    assert said(buffer.take(10)) == ["one", "two", "three"]


def test_room_is_counted_in_characters_too(monkeypatch):
    monkeypatch.setattr(logs, "MIN_COUNTED_CHARS", 50)
    monkeypatch.setattr(logs, "MAX_WAITING_CHARS", 100)
    buffer = LogBuffer()
    for _ in range(5):
        buffer.add(entry("x" * 60))
    assert len(buffer) == 2
    taken = buffer.take(10)
    assert taken[-1].message.startswith("3 log records were dropped")
    buffer.add(entry("y" * 60))
    assert buffer.dropped == 3, "there is room again"
    buffer.give_back(taken[:2])
    buffer.add(entry("z"))
    assert buffer.dropped == 4, "what was put back counts"
    buffer.drop_all()
    assert buffer.dropped == 7
    buffer.add(entry("again"))
    assert buffer.dropped == 7


def test_short_messages_are_bounded_by_their_number_alone(monkeypatch):
    """Counting takes a lock, which would be one for nearly every line."""
    monkeypatch.setattr(logs, "MAX_WAITING_CHARS", 1_000)
    monkeypatch.setattr(logs, "MAX_WAITING", 50)
    buffer = LogBuffer()
    for _ in range(60):
        buffer.add(entry("x" * (logs.MIN_COUNTED_CHARS - 1)))
    assert (len(buffer), buffer.dropped) == (50, 10)


def test_the_marker_is_said_once():
    buffer = LogBuffer()
    buffer.dropped = 3
    (marker,) = buffer.take(10)
    assert (marker.level, marker.logger) == (logging.WARNING, "jobcontrol")
    assert buffer.take(10) == []
    buffer.dropped += 2
    assert said(buffer.take(10))[0].startswith("2 log records")


@pytest.mark.timeout(30)
def test_a_caller_waits_for_room_while_records_are_written(monkeypatch):
    monkeypatch.setattr(logs, "MAX_WAITING", 2)
    monkeypatch.setattr(logs, "ROOM_SECONDS", 20.0)
    buffer, taken, woken = LogBuffer(), [], threading.Event()
    buffer.wake = woken.set

    def write():
        while len(taken) < 10:
            woken.wait(0.01)
            taken.extend(buffer.take(1))

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(10):
        buffer.add(entry(str(number)))
    writer.join()
    assert said(taken) == [str(number) for number in range(10)]
    assert buffer.dropped == 0


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("healthy", "longest"), [(True, 0.05), (False, 20.0)], ids=["no room comes", "writes fail"]
)
def test_a_caller_does_not_wait_long_for_a_writer_that_does_not_write(
    monkeypatch, healthy, longest
):
    monkeypatch.setattr(logs, "MAX_WAITING", 1)
    monkeypatch.setattr(logs, "ROOM_SECONDS", longest)
    buffer = LogBuffer()
    buffer.wake = lambda: None
    buffer.healthy = healthy
    began = time.monotonic()
    buffer.add(entry("kept"))
    buffer.add(entry("dropped"))
    assert time.monotonic() - began < 10
    assert buffer.dropped == 1


@pytest.mark.timeout(30)
def test_a_caller_does_not_run_far_ahead_of_the_writer(monkeypatch):
    """What waits when the job ends is still to be written then: a cancel takes as long."""
    monkeypatch.setattr(logs, "MAX_BEHIND", 3)
    monkeypatch.setattr(logs, "PACE_SECONDS", 20.0)
    buffer, waiting = LogBuffer(), []
    buffer.wake = threading.Event().set

    def write():
        taken = 0
        while taken < 20:
            waiting.append(len(buffer))
            taken += len(buffer.take(1))

    writer = threading.Thread(target=write)
    for number in range(3):
        buffer.add(entry(str(number)))
    writer.start()
    for number in range(17):
        buffer.add(entry(str(number)))
    writer.join()
    assert max(waiting) <= 3
    assert buffer.dropped == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("healthy", "longest"), [(True, 0.01), (False, 20.0)], ids=["it hangs", "writes fail"]
)
def test_all_the_room_is_for_a_writer_that_does_not_write(monkeypatch, healthy, longest):
    monkeypatch.setattr(logs, "MIN_COUNTED_CHARS", 5)
    monkeypatch.setattr(logs, "MAX_BEHIND_CHARS", 10)
    monkeypatch.setattr(logs, "PACE_SECONDS", longest)
    buffer = LogBuffer()
    buffer.wake = lambda: None
    buffer.healthy = healthy
    for _ in range(100):
        buffer.add(entry("x" * 6))
    assert (len(buffer), buffer.dropped) == (100, 0)


def test_records_about_us_are_not_of_the_job():
    buffer = LogBuffer()
    handler = CaptureHandler(lambda: buffer)
    for name in (
        *("builds", "builds.recorder", "jobs.registry", "jobcontrol_site", "django.db.backends"),
        *("django-q", "django.db"),
    ):
        assert not handler.handle(logging.LogRecord(name, 10, "f", 1, "ours", None, None))
    for name in (
        "buildsystem",
        "jobs2",
        "jobcontrol",
        "django",
        "django.request",
        "root",
        "a.jobs",
    ):
        assert handler.handle(logging.LogRecord(name, 10, "f", 1, name, None, None))
    assert said(buffer.take(99))[0] == "buildsystem"
    assert handler.level == logging.DEBUG


def test_a_repr_that_logs_is_recorded_once_and_the_next_record_too():
    buffer = LogBuffer()
    handler = CaptureHandler(lambda: buffer)

    class Chatty:
        def __repr__(self):
            assert not handler.handle(record("from the repr"))
            return "chatty"

    handler.handle(record("it is %r", Chatty()))
    handler.handle(record("next"))
    assert said(buffer.take(10)) == ["it is chatty", "next"]


def test_a_record_says_where_it_comes_from():
    made = record("text", func="work", sinfo="Stack (most recent call last):\n  here")
    taken = captured(made)
    row = row_values(taken, NOTHING)
    assert row["place"] == "file.py:7 work"
    assert row["origin"] == f"{made.process} {made.threadName}"
    assert taken.message == "text\nStack (most recent call last):\n  here"
    assert taken.created == made.created


@pytest.mark.parametrize("level", [-5, 0, 10**9, 2**70])
def test_levels_fit_the_column(level):
    row = row_values(LogEntry(0.0, level, "job", "x"), NOTHING)
    assert 0 <= row["level"] <= 32_767


@pytest.mark.parametrize("created", [1e30, -1e30, float("nan"), "now", None])
def test_a_time_that_is_none_becomes_now(created):
    row = row_values(LogEntry(created, 20, "job", "x"), NOTHING)
    made = datetime.fromisoformat(str(row["created"])).replace(tzinfo=UTC)
    assert abs(made.timestamp() - time.time()) < 60


@given(st.floats(0, 4_000_000_000) | st.integers(0, 4_000_000_000))
def test_a_time_is_written_as_django_writes_it(created):
    row = row_values(LogEntry(created, 20, "job", "x"), NOTHING)
    written = datetime.fromisoformat(str(row["created"])).replace(tzinfo=UTC)
    assert abs(written - datetime.fromtimestamp(created, UTC)) <= timedelta(microseconds=1)
    assert str(connection.ops.adapt_datetimefield_value(written)) == row["created"]


def test_what_a_record_made_by_hand_holds_is_kept_as_text():
    class Silent:
        def __str__(self):
            raise RuntimeError("no text")

    made = record(Silent())
    made.name, made.lineno, made.funcName, made.threadName = ["a", "b"], {}, Silent(), None
    buffer = LogBuffer()
    assert CaptureHandler(lambda: buffer).handle(made)
    (taken,) = buffer.take(9)
    row = row_values(taken, NOTHING)
    assert row["logger"] == "['a', 'b']"
    assert row["place"] == "file.py:{} <Silent, whose text can't be made: RuntimeError>"
    assert row["origin"] == f"{made.process} None"
    assert "<Silent, whose text can't be made: RuntimeError>" in str(row["message"])


def test_records_of_one_line_of_code_keep_their_own_places():
    rows = []
    for line, thread in ((7, "one"), (8, "one"), (7, "two")):
        made = record("text", func="work")
        made.lineno, made.threadName = line, thread
        rows.append(row_values(captured(made), NOTHING))
    assert [row["place"] for row in rows] == ["file.py:7 work", "file.py:8 work", "file.py:7 work"]
    assert [str(row["origin"]).split()[1] for row in rows] == ["one", "one", "two"]


def test_every_text_of_a_row_is_masked_before_it_is_cut():
    token = "hunter22-hunter22" + "." * 100
    for before in range(100):
        row = row_values(
            LogEntry(
                *(0.0, 20, "l" * (200 - before) + token),
                message="m" * (logs.MAX_MESSAGE_CHARS - before) + token,
                file="p" * (300 - before) + token,
                thread="o" * (190 - before) + token,
            ),
            SECRETS,
        )
        for name, limit in (("logger", 200), ("place", 300), ("origin", 200)):
            assert len(row[name]) <= limit
            assert "hunter" not in row[name]
        assert len(row["message"]) <= logs.MAX_MESSAGE_CHARS
        assert "hunter" not in row["message"]


def test_a_logged_exception_is_masked_and_bounded():
    token = "hunter22-hunter22"
    try:
        raise ValueError("." * 1_000_000, token)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    made = record("it failed")
    made.exc_info = info
    row = row_values(captured(made, SECRETS), SECRETS)
    exception = json.loads(str(row["exception"]))
    assert exception["type"] == "ValueError"
    assert exception["frames"][0]["name"] == "test_a_logged_exception_is_masked_and_bounded"
    assert "hunter22" not in str(exception)
    assert all(len(part) <= logs.MAX_EXCEPTION_TEXT for part in texts_of(exception))
    assert exception["frames"][0]["locs"]["token"] == "'•••'"


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)


# --- The cap of rows ------------------------------------------------------------------------------


def of_level(level: int, message: str) -> LogEntry:
    return LogEntry(0.0, level, "job", message)


def test_past_the_cap_only_warnings_and_our_own_lines_are_taken():
    buffer = LogBuffer(max_rows=3)
    for number in range(5):
        buffer.add(of_level(logging.INFO, f"info {number}"))
    buffer.add(of_level(logging.WARNING, "warning"))
    buffer.add(of_level(logging.DEBUG, "debug"))
    buffer.say(logging.INFO, "Build finished.")
    assert said(buffer.take(99)) == [
        "info 0",
        "info 1",
        "info 2",
        "From here on, records below WARNING are left out: "
        "the log has 3 rows (log_rows of the file's retention).",
        "warning",
        "Build finished.",
    ]
    assert said(buffer.take_rest()) == [
        "Records below WARNING that were left out: 3; "
        "the log has 3 rows (log_rows of the file's retention)."
    ]


def test_below_the_cap_nothing_is_said_of_it():
    for cap in (0, 5):
        buffer = LogBuffer(max_rows=cap)
        for number in range(5):
            buffer.add(of_level(logging.DEBUG, str(number)))
        assert said(buffer.take_rest()) == ["0", "1", "2", "3", "4"]
        assert buffer.left_out == 0


def test_a_write_that_failed_is_not_counted_twice():
    buffer = LogBuffer(max_rows=4)
    buffer.add(of_level(logging.INFO, "one"))
    buffer.give_back(buffer.take(9))
    for text in ("two", "three", "four", "five"):
        buffer.add(of_level(logging.INFO, text))
    first = buffer.take_rest()
    assert said(first)[:4] == ["one", "two", "three", "four"]
    assert said(first)[-1].startswith("Records below WARNING that were left out: 1;")
    buffer.give_back(first)
    buffer.add(of_level(logging.INFO, "six"))
    again = said(buffer.take_rest())
    assert again[:4] == ["one", "two", "three", "four"]
    assert [text.split(";")[0][-1] for text in again if "were left out" in text] == ["2"]
    assert len([text for text in again if "From here on" in text]) == 1


def test_the_rest_is_taken_whole_however_long_it_is(monkeypatch):
    monkeypatch.setattr(logs, "MIN_COUNTED_CHARS", 5)
    monkeypatch.setattr(logs, "MAX_TAKEN_CHARS", 10)
    buffer = LogBuffer()
    for number in range(9):
        buffer.add(entry(f"line {number}"))
    assert len(buffer.take(9)) == 2
    buffer.add(entry("line 9"))
    buffer.add(entry("line 10"))
    assert len(buffer.take_rest()) == 9


def test_threads_never_exceed_the_cap_and_lose_no_count():
    buffer = LogBuffer(max_rows=1_000)

    def log():
        for number in range(2_000):
            buffer.add(of_level(logging.INFO, str(number)))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in buffer.take_rest() if one.level == logging.INFO]) == 1_000
    assert buffer.left_out == 7_000


def test_of_a_record_that_is_left_out_no_text_is_made():
    class Costly:
        def __str__(self):
            raise AssertionError("its text was made")

    buffer = LogBuffer(max_rows=1)
    handler = CaptureHandler(lambda: buffer)
    handler.handle(record("one"))
    assert handler.handle(record("%s", Costly()))
    assert buffer.left_out == 1
    assert not any("not formatted" in text for text in said(buffer.take_rest()))
