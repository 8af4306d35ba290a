"""What is recorded while a job logs, prints, warns and reports."""

from __future__ import annotations

import json
import logging
import uuid

import pytest

from builds import bulk, progress
from builds.progress import progress_tree
from builds.recorder import recorder
from builds.sessions import BuildSession
from jobs.redaction import Redactor
from tests.support.jobs import build_function, messages

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"


def logged(build, **filters):
    return list(build.log_messages.filter(**filters).order_by("id"))


def test_output_is_kept_line_by_line():
    build = build_function(ODD + "print_parts")
    out = [row.message for row in logged(build, logger="stdout")]
    assert out == ["one line", "no endbytes é"]
    (err,) = logged(build, logger="stderr")
    assert (err.message, err.level) == ("on stderr", logging.WARNING)
    (warning,) = logged(build, logger="py.warnings")
    assert "careful" in warning.message


def test_ten_megabytes_of_print_are_kept_and_bounded():
    build = build_function(ODD + "print_much")
    assert len(logged(build, logger="stdout", message="x" * 1023)) == 10_000
    build = build_function(ODD + "print_long_line")
    (line,) = logged(build, logger="stdout")
    assert line.message.startswith("yyyy")
    assert len(line.message) < 70_000
    assert "cut" in line.message


def test_records_that_can_not_be_formatted_are_kept():
    """original #26"""
    build = build_function(ODD + "log_badly")
    assert build.status == "SUCCESSFUL"
    lines = messages(build)
    assert any(line.startswith("%d items [arguments not formatted: TypeError") for line in lines)
    assert "nul \ufffd and surrogate \ufffd and é 💥" in lines
    assert any(line.startswith("object %s") for line in lines)
    assert "made by hand" in lines
    assert "the last line" in lines
    (debug,) = logged(build, message="the last line")
    assert debug.level == logging.DEBUG
    assert "odd_jobs.py:" in debug.place
    assert "log_badly" in debug.place


def test_a_logged_exception_keeps_its_traceback():
    """original #26"""
    build = build_function(ODD + "log_exception")
    (row,) = logged(build, level=logging.ERROR)
    assert row.message == "it went wrong, a local"
    assert row.exception["type"] == "ValueError"
    assert row.exception["frames"][0]["locs"]["secret_local"] == "'a local'"


def test_threads_log_print_and_report():
    """original #26, #27"""
    build = build_function(ODD + "use_threads", 4)
    lines = messages(build)
    for number in range(4):
        assert f"thread {number} logs" in lines
        assert f"thread {number} prints" in lines
    assert {child.name for child in progress_tree(build).children} == {
        f"thread {number}" for number in range(4)
    }


def test_an_exception_in_a_thread_is_in_the_log():
    build = build_function(ODD + "fail_in_thread")
    (row,) = logged(build, logger="threading")
    assert row.level == logging.ERROR
    assert row.exception["type"] == "ZeroDivisionError"


def test_absurd_progress_is_stored_as_given():
    """original #27"""
    build = build_function(ODD + "report_absurdly")
    assert build.status == "SUCCESSFUL", build.exception_message
    rows = {tuple(json.loads(row.group_name)): row for row in build.progress.all()}
    assert rows[()].current == 2**63 - 1
    assert rows[()].total == -(2**63 - 1)
    strange = rows["a::b", "3"]
    assert (strange.current, strange.total) == (2**31, 2**40)
    assert strange.status_line == "nul \ufffd"
    assert build.progress.count() > 40


def test_bars_beyond_the_limit_are_dropped_and_the_log_says_so(monkeypatch):
    monkeypatch.setattr("builds.progress.MAX_NODES", 5)
    build = build_function(ODD + "report_absurdly")
    assert build.status == "SUCCESSFUL"
    assert build.progress.count() == 5
    (row,) = logged(build, message__contains="progress reports were dropped")
    assert row.level == logging.WARNING


def test_the_tree_sums_and_keeps_the_order():
    """original #28"""
    root = progress_tree(build_function(ODD + "report_tree"))
    assert [child.name for child in root.children] == ["b", "a"]
    b, a = root.children
    assert (b.current, b.total) == (5, 20)
    assert (a.current, a.total, a.status_line) == (4, 5, "fourth")
    assert (root.current, root.total) == (9, 25)


def test_many_reports_and_records_are_coalesced_and_complete():
    build = build_function(ODD + "report_many", 200_000)
    (row,) = build.progress.all()
    assert (row.current, row.total) == (200_000, 200_000)
    build = build_function(ODD + "log_many", 30_000)
    assert build.log_messages.filter(logger="tests.support.odd_jobs").count() == 30_000
    first, last = (
        build.log_messages.filter(logger="tests.support.odd_jobs").order_by(order).first()
        for order in ("id", "-id")
    )
    assert (first.message, last.message) == ("message 0", "message 29999")


def test_capture_ends_with_the_build(capsys):
    build = build_function(ODD + "print_parts")
    before = build.log_messages.count()
    print("not of the build")
    logging.getLogger("tests").error("not of the build")
    assert build.log_messages.count() == before
    assert "not of the build" in capsys.readouterr().out


def test_many_small_writes_to_one_line_cost_little():
    build = build_function(ODD + "print_dots", 200_000)
    assert build.status == "SUCCESSFUL", build.exception_message
    assert float(build.payload.retval_text) < 20
    (line,) = logged(build, logger="stdout")
    assert line.message.startswith("...")


def test_a_record_with_a_strange_level_is_kept():
    build = build_function(ODD + "log_strange_level")
    (row,) = logged(build, message="strange level")
    assert row.level == logging.INFO


def test_a_record_that_can_not_be_made_into_a_row_costs_only_itself(monkeypatch):
    seen = []

    def values(entry, *others):
        if not seen:
            seen.append(entry)
            raise ArithmeticError("no row")
        return real(entry, *others)

    real = bulk._values
    monkeypatch.setattr(bulk, "_values", values)
    session = BuildSession(0, uuid.uuid4(), Redactor({}))
    session.logs.say(logging.INFO, "one")
    scribe = recorder()
    assert not scribe.call(lambda: scribe._flush(session))
    (marker,) = session.logs.take(10)
    assert "1 log records were dropped" in marker.message


def test_the_log_says_that_progress_paths_were_dropped(monkeypatch):
    monkeypatch.setattr(progress, "MAX_NODES", 5)
    build = build_function(ODD + "report_many_paths", 20)
    assert build.progress.count() == 5
    assert len(logged(build, message__contains="further paths are dropped")) == 1
