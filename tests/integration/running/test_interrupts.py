"""Stopping what runs: cancels, timeouts, shutdowns, by an exception in the job's own function."""

from __future__ import annotations

import dis
import logging
import os
import signal
import sys
import threading
from concurrent import futures
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from builds import (
    calling,
    capture,
    flags,
    interrupts,
    isolation,
    recorder,
    runner,
    services,
    sessions,
    tasks,
)
from builds.models import Build
from builds.sessions import BuildSession, Cause
from jobcontrol.exceptions import BuildInterrupted, BuildStateError, NotFound
from jobcontrol.utils import TracebackInfo
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support import endless_jobs
from tests.support.jobs import build, messages, use_config
from tests.support.site import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

ROUNDS = int(os.environ.get("JOBCONTROL_ROUNDS", "10"))
NAMES = ("sleep", "work", "discard", "log", "wait_for_lock", "coroutine", "generate")
CONFIG = "jobs:\n" + "".join(
    f"  - {{id: {name}, function: 'tests.support.endless_jobs:{name}'}}\n" for name in NAMES
)
CONFIG += """
  - {id: own_error, function: 'tests.support.endless_jobs:end_with', args: [error]}
  - {id: value, function: 'tests.support.endless_jobs:end_with', args: [value]}
  - {id: outer, function: 'tests.support.endless_jobs:run_inner', args: [sleep]}
  - {id: by_itself, function: 'tests.support.endless_jobs:interrupt_itself'}
  - {id: around, function: 'tests.support.endless_jobs:run_inner', args: [by_itself]}
  - {id: short, function: 'tests.support.endless_jobs:work', timeout: 0.6}
  - {id: stubborn, function: 'tests.support.endless_jobs:end_with', args: [value], timeout: 0.6}
  - {id: good, function: 'tests.support.odd_jobs:value', args: [1]}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    endless_jobs.told.clear()
    endless_jobs.going.clear()
    use_config(CONFIG)


def asked(name: str) -> Build:
    return services.request_build(job=Job.objects.get(pk=name), trigger="python")


def run_and(name: str, act) -> Build:
    """Run a build in this, the main thread, as a worker does; `act` on it from another one."""
    made, failures = asked(name), []

    def wait_and_act():
        try:
            assert endless_jobs.going.wait(60)
            act(made)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    runner.run_next()
    thread.join()
    assert not failures, failures
    made.refresh_from_db()
    return made


def cancel(made: Build, user=None) -> None:
    services.cancel_build(build=Build.objects.get(pk=made.pk), requested_by=user)


# --- Cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_running_build_ends_soon_after_it_is_cancelled(name):
    made = run_and(name, cancel)
    assert made.status == "CANCELLED"
    assert made.failure_kind == ""
    assert made.cancel_requested is not None
    assert made.end_time - made.cancel_requested < timedelta(seconds=15)
    assert "Build cancelled." in messages(made)[-1]
    assert "swallowed" not in endless_jobs.told


@pytest.mark.parametrize("name", ["sleep", "coroutine"])
def test_finally_blocks_of_a_cancelled_job_run_to_their_end(name):
    run_and(name, cancel)
    assert endless_jobs.told == ["tidied up"]


def test_the_place_where_it_was_stopped_is_kept():
    made = run_and("sleep", cancel)
    info = TracebackInfo.from_json(made.payload.traceback)
    assert [frame.name for frame in info.frames] == ["sleep"]
    assert info.frames[0].line == "time.sleep(600)"


def test_who_cancelled_stands_in_the_build_and_its_log():
    user = get_user_model().objects.create_user("operator")
    made = run_and("work", lambda made: cancel(made, user))
    assert made.cancel_requested_by == user
    assert messages(made)[-1] == "Build cancelled by operator."


@pytest.mark.parametrize("name", ["own_error", "value"])
def test_what_a_cancelled_job_says_changes_nothing(name):
    made = run_and(name, cancel)
    assert made.status == "CANCELLED"
    assert made.payload.retval is None
    assert made.payload.retval_text == ""


def test_a_build_cancelled_while_its_last_line_ran_is_cancelled_all_the_same(monkeypatch):
    execute = runner._execute

    def cancel_late(build, session, scribe):
        result = execute(build, session, scribe)
        scribe.call(lambda: services.cancel_build(build=build))
        return result

    monkeypatch.setattr(runner, "_execute", cancel_late)
    made = asked("good")
    runner.run_next()
    made.refresh_from_db()
    assert made.status == "CANCELLED"
    assert made.payload.retval is None


def test_a_build_around_another_takes_it_along():
    made = run_and("outer", cancel)
    inner = Build.objects.get(job_id="sleep")
    assert (made.status, inner.status) == ("CANCELLED", "CANCELLED")
    assert endless_jobs.told == ["tidied up"]


def test_a_build_inside_another_is_cancelled_alone():
    made = run_and("outer", lambda _: cancel(Build.objects.get(job_id="sleep")))
    assert Build.objects.get(job_id="sleep").status == "CANCELLED"
    assert made.status == "SUCCESSFUL"
    assert endless_jobs.told == ["tidied up", "went on after the inner build"]


def test_a_job_that_interrupts_itself_fails_alone():
    """The next build is claimed by then, and has to be run."""
    made = [asked(name) for name in ("by_itself", "good", "around")]
    tasks.work()
    states = [Build.objects.get(pk=one.pk).status for one in made]
    assert states == ["FAILED", "SUCCESSFUL", "SUCCESSFUL"]
    assert Build.objects.filter(job="by_itself", status="FAILED").count() == 2
    assert endless_jobs.told == ["went on after the inner build"]


def test_what_waits_is_cancelled_at_once_and_never_runs():
    user = get_user_model().objects.create_user("operator")
    made = asked("good")
    services.cancel_build(build=made, requested_by=user)
    assert (made.status, made.cancel_requested_by) == ("CANCELLED", user)
    assert made.end_time is not None
    assert made.start_time is None
    assert messages(made) == ["Build cancelled by operator before it began."]
    assert runner.run_next() is None
    services.cancel_build(build=made)
    assert len(messages(made)) == 1, "asking again changes nothing"
    with pytest.raises(BuildStateError):
        runner.run_here(made)


def test_what_has_ended_is_not_cancelled():
    made = build("good")
    with pytest.raises(BuildStateError, match=rf"build #{made.pk} is successful already"):
        services.cancel_build(build=made)
    made.refresh_from_db()
    assert (made.status, made.cancel_requested) == ("SUCCESSFUL", None)


def test_what_was_deleted_meanwhile_is_not_cancelled():
    made = asked("good")
    Build.objects.all().delete()
    with pytest.raises(NotFound, match="is not there any more"):
        services.cancel_build(build=made)


def test_many_are_cancelled_at_once():
    waiting, done, running = asked("good"), build("good"), asked("good")
    Build.objects.filter(pk=running.pk).update(status="RUNNING")
    wanted = [waiting.pk, done.pk, running.pk, 10**6]
    assert services.cancel_builds(builds=wanted) == [waiting.pk, running.pk]
    states = dict(Build.objects.values_list("pk", "status"))
    assert states == {waiting.pk: "CANCELLED", done.pk: "SUCCESSFUL", running.pk: "RUNNING"}
    assert Build.objects.get(pk=running.pk).cancel_requested is not None


@pytest.mark.parametrize("call", [print, logging.getLogger("of_a_job").warning])
def test_a_job_that_logs_or_prints_without_a_pause_is_stopped_by_that(monkeypatch, call):
    """It is in our code whenever the signal comes, which does nothing there."""
    session = BuildSession(1, None, Redactor({}))
    session.note_interruption(Cause.CANCEL, "it was cancelled.")
    monkeypatch.setattr(capture, "current_buffer", lambda: session.logs)
    sessions.enter(session)
    try:
        with isolation.preserved(), capture.installed(session.logs):
            call("a line that is no code of the job's")
            with pytest.raises(BuildInterrupted):
                calling.text(call, "a line")
            calling.text(call, "a line when it tidies up")
    finally:
        sessions.leave(session)
    lines = [entry.message for entry in session.logs.take_rest()]
    assert [line[:8] for line in lines] == ["a line t", "a line", "a line w"]


def test_code_beside_ours_is_the_jobs():
    """A folder whose name begins as that of our package does is none of ours."""
    stranger = f"{Path(interrupts.__file__).parent}_of_mine/job.py"
    names = {"interrupts": interrupts, "seen": []}
    source = "def job():\n    seen.append(interrupts._is_in_job(sys._getframe()))\n"
    exec(compile("import sys\n" + source, stranger, "exec"), names)  # noqa: S102 - the test's own
    calling.text(lambda _: names["job"](), None)
    assert names["seen"] == [True]


# --- Timeouts -------------------------------------------------------------------------------------


def test_a_build_that_runs_too_long_fails_and_says_where_it_hung():
    made = run_and("short", lambda _: None)
    assert (made.status, made.failure_kind) == ("FAILED", "timeout")
    assert (made.exception_type, made.exception_message) == (
        "Timeout",
        "it ran for more than 0.6s.",
    )
    assert made.timeout == timedelta(seconds=0.6)
    info = TracebackInfo.from_json(made.payload.traceback)
    assert info.frames[0].name == "work"
    assert info.final_line == "jobcontrol.exceptions.BuildInterrupted: it ran for more than 0.6s."


def test_a_value_that_comes_too_late_is_none():
    made = run_and("stubborn", lambda _: None)
    assert (made.status, made.failure_kind) == ("FAILED", "timeout")
    assert made.payload.retval is None
    assert made.payload.traceback is not None, "where it hung"


def test_the_timeout_of_the_file_holds_for_jobs_without_one(settings):
    settings.TIMEOUT_SECONDS = 0.6
    made = run_and("work", lambda _: None)
    assert (made.failure_kind, made.timeout) == ("timeout", timedelta(seconds=0.6))
    assert asked("short").timeout == timedelta(seconds=0.6)


def test_a_build_within_its_time_is_left_alone(settings):
    settings.TIMEOUT_SECONDS = 60.0
    assert build("good").status == "SUCCESSFUL"


# --- Shutdown -------------------------------------------------------------------------------------


def test_a_worker_that_is_stopped_interrupts_and_claims_nothing_more(monkeypatch):
    for name in ("stopping", "interrupting"):
        monkeypatch.setattr(flags, name, flags.Flag())
    made = run_and("work", lambda _: flags.interrupting.set())
    assert (made.status, made.failure_kind) == ("FAILED", "shutdown")
    flags.stopping.set()
    waiting = asked("good")
    assert runner.run_next() is None
    waiting.refresh_from_db()
    assert waiting.status == "QUEUED"


# --- The signal -----------------------------------------------------------------------------------


def test_the_signal_does_nothing_outside_of_a_job():
    interrupts.install()
    signal.raise_signal(interrupts.SIGNAL)


def test_a_job_that_took_the_signal_is_not_killed_by_it(monkeypatch):
    """Its default action would end the whole worker at once."""
    interrupts.install()
    session = BuildSession(1, None, None)
    before = signal.signal(interrupts.SIGNAL, signal.SIG_DFL)
    try:
        interrupts.interrupt(session, Cause.CANCEL, "cancelled")
    finally:
        signal.signal(interrupts.SIGNAL, before)
    assert not session.interruption.raised


def test_the_first_cause_counts():
    session = BuildSession(1, None, None)
    interrupts.interrupt(session, Cause.TIMEOUT, "too long")
    interrupts.interrupt(session, Cause.CANCEL, "cancelled")
    assert session.interruption.cause == Cause.TIMEOUT


def test_no_plain_handler_of_errors_catches_an_interruption():
    assert not issubclass(BuildInterrupted, Exception)


def test_a_signal_that_met_other_code_is_sent_again_soon(monkeypatch):
    """Not only when records are written: most of them may meet code that must not be stopped."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 600.0)
    sent = []
    monkeypatch.setattr(interrupts, "send_again", sent.append)
    scribe, session = recorder.Recorder(), BuildSession(1, None, Redactor({}))
    scribe.open(session)
    scribe.call(lambda: None)  # wakes it
    try:
        wait_until(lambda: sent)
        session.note_interruption(Cause.CANCEL, "it was cancelled.")
        scribe.call(lambda: None)  # wakes it
        wait_until(lambda: len(sent) > 10, seconds=30)
    finally:
        scribe.close(session)
        scribe.stop()


def log_to_its_own(state) -> None:
    state.logger.warning("a line")


def poll_event(state) -> None:
    state.event.wait(0.00001)


def poll_futures(state) -> None:
    futures.wait(state.futures, timeout=0.00001)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("job", [log_to_its_own, poll_event, poll_futures])
def test_no_lock_of_the_library_stays_taken(job):
    """Interrupted at each of its instructions in turn, as far as we would do that."""
    point = 0
    with open(os.devnull, "w") as stream:
        while True:
            state = SimpleNamespace(
                logger=logging.Logger("private"),
                handler=logging.StreamHandler(stream),
                event=threading.Event(),
                futures=[futures.Future() for _ in range(2)],
            )
            state.logger.addHandler(state.handler)
            if not is_interrupted_at(point, job, state):
                break
            locks = [state.handler.lock, state.event._cond]
            assert are_free(locks + [one._condition for one in state.futures]), point
            point += 1
    assert point > 10


def is_interrupted_at(point: int, job, state) -> bool:
    """Raise at that one of the job's instructions where we may; False when there are fewer.

    Python looks for signals only after a call, at a function's start and at the end of a loop.
    """
    left, last = point, {}

    def trace(frame, event, _argument):
        nonlocal left
        frame.f_trace_opcodes = True
        if event != "opcode":
            return trace
        name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        before, last[frame] = last.get(frame, ""), name
        looks = before.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
        if looks and not interrupts._takes_a_lock(frame):
            left -= 1
            if left < 0:
                raise BuildInterrupted("now")
        return trace

    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        # The second is the error of a lock that was to be released, and was free. In a finalizer,
        # which may run at any point, what is raised goes nowhere.
        with suppress(BuildInterrupted, RuntimeError):
            job(state)
    finally:
        sys.settrace(tracer)
    return left < 0


def are_free(locks) -> bool:
    """Whether another thread gets all of them."""
    got = []

    def take():
        for lock in locks:
            if lock.acquire(blocking=False):
                lock.release()
                got.append(lock)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got == locks


def test_cancels_of_a_job_that_logs_without_end(monkeypatch):
    """It spends its time in our code and logging's, which must come out of it whole.

    An exception between the two lines that take a handler's lock and protect it would leave the
    lock taken, and stop the next thread that logs: the recorder's.
    """
    monkeypatch.setattr(recorder, "LOOK_SECONDS", 0.0)
    for _ in range(ROUNDS):
        endless_jobs.going.clear()
        made = run_and("log", cancel)
        assert made.status == "CANCELLED"
    endless_jobs.going.clear()
    assert build("good").status == "SUCCESSFUL"
