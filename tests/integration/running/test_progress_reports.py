"""Reports of progress in a build: those of a loop take a short way that changes nothing else."""

from __future__ import annotations

import threading
import uuid

import pytest

from builds import progress, sessions
from builds.progress import Pace
from builds.sessions import BuildSession
from jobcontrol.core import JobControl, JobExecutionContext
from jobcontrol.exceptions import NotInBuild
from jobcontrol.globals import current_app
from jobs.redaction import Redactor
from tests.support.jobs import build_function, use_config

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "tests.integration.running.test_progress_reports:"


def count_up(number):
    for at in range(1, number + 1):
        current_app.report_progress(None, at, number, f"step {at}")
        current_app.report_progress(("a", "b"), at, number)
        current_app.report_progress(["a", 3], at, number)


def test_every_last_report_is_stored_and_each_is_counted():
    build = build_function(HERE + "count_up", 5_000)
    found = {
        row.group_name: (row.current, row.total, row.status_line, row.first_current, row.reports)
        for row in build.progress.all()
    }
    assert found == {
        "[]": (5_000, 5_000, "step 5000", 1, 5_000),
        '["a", "b"]': (5_000, 5_000, "", 1, 5_000),
        '["a", "3"]': (5_000, 5_000, "", 1, 5_000),
    }


def report_wrongly():
    for _ in range(2):
        for at in range(100):
            current_app.report_progress(("a",), at, 100)
        for wrong in ((("a",), 1.0, 100), (("a",), 100, "1"), ("a", 100, 100), (("a",), None, 1)):
            with pytest.raises(TypeError):
                current_app.report_progress(*wrong)
        current_app.report_progress(("a",), 10**30, 100, "x" * 10**6)
        current_app.report_progress(("a",), 10**30, -(10**30), None)


def test_wrong_reports_are_refused_however_many_came_before():
    (row,) = build_function(HERE + "report_wrongly").progress.all()
    assert (row.current, row.total, row.status_line) == (2**63 - 1, -(2**63 - 1), "")


def begin_anew():
    for _ in range(3):
        for at in range(1, 301):
            current_app.report_progress(None, at, 300)


def test_a_loop_that_runs_again_is_seen_to_begin_anew():
    (row,) = build_function(HERE + "begin_anew").progress.all()
    assert (row.first_current, row.reports) == (1, 300)


def report_in_threads():
    def some():
        for at in range(1, 2_001):
            current_app.report_progress(("one",), at, 2_000)

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current_app.report_progress(("one",), 2_001, 2_001)


def test_threads_report_without_losing_the_last_one():
    (row,) = build_function(HERE + "report_in_threads").progress.all()
    assert (row.current, row.total) == (2_001, 2_001)
    assert row.reports <= 8_001


def test_what_a_build_left_behind_reports_to_nobody():
    session = BuildSession(7, uuid.uuid4(), Redactor({}))
    with JobExecutionContext(JobControl(), "job", 7):
        sessions.enter(session)
        for at in range(100):
            current_app.report_progress(None, at, 1_000)
        bar, report = session.progress.known[None], current_app.report_progress
        assert bar.look_at > bar.reports, "the next one would take the short way"
        sessions.leave(session)
        for call in (report, current_app.report_progress):
            with pytest.raises(NotInBuild):
                call(None, 100, 1_000)
    with pytest.raises(NotInBuild):
        _ = current_app.report_progress


def test_a_long_status_line_is_cut_in_a_burst_as_well():
    session = BuildSession(7, uuid.uuid4(), Redactor({}))
    with JobExecutionContext(JobControl(), "job", 7):
        sessions.enter(session)
        for at in range(100):
            line = "x" * (progress.MAX_HELD_CHARS + 1) if at == 99 else ""
            current_app.report_progress(None, at, 1_000, line)
        (node,) = session.progress.take()
        sessions.leave(session)
    assert (node.current, len(node.status_line)) == (99, progress.MAX_HELD_CHARS)


def report_more():
    for at in range(50, 60):
        current_app.report_progress(None, at, 100)


def build_another():
    for at in range(10):
        current_app.report_progress(None, at, 100)
    current_app.build_job("inner")
    for at in range(10, 20):
        current_app.report_progress(None, at, 100)


def test_a_nested_build_has_reports_of_its_own():
    use_config(
        f"""
        jobs:
          - {{id: outer, function: "{HERE}build_another"}}
          - {{id: inner, function: "{HERE}report_more"}}
        """
    )
    outer = JobControl().build_job("outer").model
    assert outer.progress.get().current == 19
    inner = JobControl().get_job("inner").get_latest_successful_build()
    assert inner is not None
    assert inner.model.progress.get().current == 59


def replace_the_call():
    said = []
    for at in range(5):
        current_app.report_progress(None, at, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(current_app, "report_progress", lambda *values: said.append(values))
        current_app.report_progress(None, 9, 10)
    del current_app.report_progress
    current_app.report_progress(None, 7, 10)
    assert said == [(None, 9, 10)]


def test_the_call_can_be_replaced_by_the_tests_of_a_job():
    build = build_function(HERE + "replace_the_call")
    assert (build.status, build.progress.get().current) == ("SUCCESSFUL", 7)


def test_a_pace_has_a_look_at_the_clock_soon_after_a_burst(monkeypatch):
    """Between two looks stand as many reports as take some milliseconds, and no write."""
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    buffer = progress.ProgressBuffer()
    for at in range(10_000):
        buffer.report(None, at, 20_000)
    bar = buffer.known[None]
    assert 100 < bar.look_at - bar.reports <= progress.MAX_UNTIMED
    (node,) = buffer.take()
    assert node.pace == Pace(0, 0.0, 10_000)
    assert bar.look_at <= bar.reports, "the first one after a write looks"
    now[0] += 60
    buffer.report(None, 10_000, 20_000)
    assert bar.look_at <= bar.reports + 1, "one that came slowly as well"
    assert buffer.take()[0].pace == Pace(0, 60.0, 10_001)
