"""What a job changed in its worker is put back, all of it, and the next build is whole."""

from __future__ import annotations

import io
import logging
import sys
import threading
from contextlib import suppress

import pytest
from django.db import connection, connections, transaction

from builds import capture, isolation, retvals, runner
from builds.deletion_models import Deletion
from builds.logs import LogBuffer
from builds.models import Build
from jobcontrol import globals as context_state
from jobcontrol.core import JobControl
from jobcontrol.exceptions import CleanupFailed
from tests.support.jobs import build, build_function, messages, use_config
from tests.support.spoiling_jobs import state

pytestmark = pytest.mark.django_db(transaction=True)

SPOILING = "tests.support.spoiling_jobs:"
SPOILT = (
    *(
        "folder",
        "umask",
        "environment",
        "path",
        "limit",
        "switch",
        "gc",
        "hooks",
        "trace",
        "profile",
        "zone",
    ),
    *("language", "handlers", "timer", "mask", "streams", "descriptors", "logging", "levels"),
    *("factory", "class", "raise", "disable", "warnings", "profile"),
)


@pytest.fixture
def before():
    """The state of the process after a build that changed nothing."""
    build_function(SPOILING + "warn_and_log")
    return state()


def differences(before, after):
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def test_the_job_spoils_all_that_is_watched(tmp_path, monkeypatch, before):
    """Else the test below would prove nothing."""
    seen = {}

    def call(name, args, kwargs):
        seen["before"] = state()
        original(name, args, kwargs)
        # Without the trace, which would be ours while it lasts.
        seen["after"] = state()

    original = runner.calling.call
    monkeypatch.setattr(runner.calling, "call", call)
    assert build_function(SPOILING + "spoil", str(tmp_path)).status == "SUCCESSFUL"
    assert set(SPOILT) <= set(differences(seen["before"], seen["after"]))
    assert differences(before, state()) == {}


def test_everything_is_put_back(tmp_path, before):
    made = build_function(SPOILING + "spoil", str(tmp_path))
    assert made.status == "SUCCESSFUL", made.exception_message
    assert differences(before, state()) == {}
    lines = messages(build_function(SPOILING + "warn_and_log"))
    assert any("a warning of the next build" in line for line in lines)
    assert "a detail of the next build" in lines
    assert "a line of the next build" in lines


def test_everything_is_put_back_after_a_cleanup_function(before):
    use_config(
        f"""
        jobs:
          - id: job
            function: tests.support.odd_jobs:value
            cleanup: {SPOILING}clean_up_badly
        """
    )
    JobControl().get_build(build("job").pk).delete()
    assert differences(before, state()) == {}
    assert "a detail of the next build" in messages(build_function(SPOILING + "warn_and_log"))


@pytest.mark.parametrize(
    ("function", "outcome"), [("clean_up_tracing", "failed"), ("clean_up_later", "done")]
)
def test_a_cleanup_function_may_be_as_odd_as_a_job_s(function, outcome, before):
    use_config(
        f"""
        jobs:
          - id: job
            function: tests.support.odd_jobs:value
            cleanup: {SPOILING}{function}
        """
    )
    with suppress(CleanupFailed):
        JobControl().get_build(build("job").pk).delete()
    assert context_state.get() is None
    assert differences(before, state()) == {}
    deletion = Deletion.objects.get()
    assert deletion.outcome == outcome
    assert ("cleaned up later" in deletion.log) is (outcome == "done")


def test_a_thing_that_can_not_be_put_back_does_not_keep_the_rest(monkeypatch, tmp_path, before):
    def save():
        return lambda: 1 / 0

    monkeypatch.setattr(isolation, "_SAVERS", (*isolation._SAVERS, save))
    made = build_function(SPOILING + "spoil", str(tmp_path))
    assert made.status == "SUCCESSFUL"
    assert differences(before, state()) == {}


def test_a_nested_build_stays_inside_the_surroundings_of_the_outer_one():
    use_config(
        f"""
        jobs:
          - {{id: inner, function: "tests.support.odd_jobs:print_parts"}}
          - {{id: outer, function: "{SPOILING}nested", args: [inner]}}
        """
    )
    outer = build("outer")
    assert retvals.unseal(outer.pk, bytes(outer.payload.retval)) == [True, True]
    lines = messages(outer)
    assert "still captured" in lines
    assert "still captured too" in lines
    assert "one line" not in lines
    assert messages(outer)[-1] == "Build finished with success."


@pytest.mark.parametrize("function", ["warn_and_log", "trace_badly"])
def test_no_context_is_left(function):
    build_function(SPOILING + function)
    assert context_state.get() is None
    found = []
    thread = threading.Thread(target=lambda: found.append(context_state.get()))
    thread.start()
    thread.join()
    assert found == [None]


def test_a_caller_keeps_its_own_transaction_and_connection():
    if connection.vendor == "sqlite":
        # There the recorder waits for whoever writes; a reader is enough to look at it.
        connection.ensure_connection()
        with isolation.preserved():
            pass
        assert not connections["default"].in_atomic_block
    with transaction.atomic():
        held = connection.connection
        with isolation.preserved():
            connection.ensure_connection()
        assert connection.connection is held
        assert connection.in_atomic_block
        assert Build.objects.count() >= 0


def test_the_job_s_connection_is_not_kept():
    connection.ensure_connection()
    raw = connection.connection
    with isolation.preserved():
        connection.set_autocommit(False)
        Build.objects.count()
    assert connection.connection is not raw
    connection.ensure_connection()
    assert connection.get_autocommit()


def test_the_console_stays_as_quiet_as_it_was():
    """While a build runs the root logger is open down to DEBUG; other handlers see no more."""

    class Console(logging.Handler):
        def __init__(self):
            super().__init__()
            self.seen = []

        def emit(self, record):
            self.seen.append(record.getMessage())

    console = Console()
    level = logging.root.level
    logging.root.setLevel(logging.WARNING)
    logging.root.addHandler(console)
    try:
        made = build_function(SPOILING + "warn_and_log")
        assert "a detail of the next build" in messages(made)
        assert "a detail of the next build" not in console.seen
        assert any("a warning of the next build" in line for line in console.seen)
        assert console.level == logging.NOTSET
        assert logging.root.level == logging.WARNING
    finally:
        logging.root.removeHandler(console)
        logging.root.setLevel(level)


def test_lines_of_threads_do_not_mix():
    use_config(
        "jobs: [{id: job, function: 'tests.integration.running.test_restored:print_in_turns'}]"
    )
    lines = messages(build("job"))
    assert "AAAA" in lines
    assert "BBBB" in lines


def print_in_turns():
    turns = [threading.Semaphore(1), threading.Semaphore(0)]

    def write(number, letter):
        for _ in range(4):
            turns[number].acquire()
            sys.stdout.write(letter)
            turns[1 - number].release()
        sys.stdout.write("\n")

    threads = [threading.Thread(target=write, args=pair) for pair in enumerate("AB")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_captured_stream_is_a_stream(capsys):
    use_config("jobs: [{id: job, function: 'tests.integration.running.test_restored:use_stream'}]")
    made = build("job")
    assert made.status == "SUCCESSFUL", made.exception_message
    assert "bytes after closing" in messages(made)
    assert "no end" in messages(made)
    assert [row.level for row in made.log_messages.filter(logger="stderr")] == [logging.WARNING]


def use_stream():
    sys.stdout.close()
    sys.stdout.buffer.close()
    assert not sys.stdout.closed
    assert not sys.stdout.buffer.closed
    sys.stdout.buffer.write(b"bytes after closing\r\n")
    assert sys.stdout.writable()
    assert not sys.stdout.isatty()
    with pytest.raises(TypeError):
        sys.stdout.write(b"no text")
    sys.stderr.write("no end")


def test_text_of_nobody_s_build_goes_to_the_real_stream():
    real = io.StringIO()
    stream = capture.OutputCapture("stdout", logging.INFO, real)
    assert stream.write("of a thread left behind\n") == 24
    assert real.getvalue() == "of a thread left behind\n"


def test_a_line_without_end_is_kept_in_pieces(monkeypatch):
    monkeypatch.setattr(capture, "MAX_HELD_CHARS", 100)
    buffer = LogBuffer()
    monkeypatch.setattr(capture, "current_buffer", lambda: buffer)
    stream = capture.OutputCapture("stdout", logging.INFO, io.StringIO())
    for _ in range(25):
        stream.write("x" * 30)
    stream.end(buffer)
    pieces = [entry.message for entry in buffer.take(99)]
    assert "".join(pieces) == "x" * 750
    assert max(map(len, pieces)) < 200


def test_a_process_without_a_usable_stream_can_be_printed_to():
    class Closed:
        def write(self, text):
            raise ValueError("I/O operation on closed file")

    stream = capture.OutputCapture("stdout", logging.INFO, Closed())
    assert stream.write("text") == 4
