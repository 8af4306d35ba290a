"""A job may do anything to its process: its record is right, and so is the next one's."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest

from builds import retvals
from builds.models import Build
from tests.support.jobs import build_function, messages

pytestmark = pytest.mark.django_db(transaction=True)

ODD = "tests.support.odd_jobs:"


def retval_of(build):
    return retvals.unseal(build.pk, bytes(build.payload.retval))


@pytest.fixture
def _healthy_after():
    """Afterwards an ordinary job is recorded whole, and the process is as it was."""
    before = retval_of(build_function(ODD + "state_of_process"))
    handlers = list(logging.root.handlers)
    yield
    assert retval_of(build_function(ODD + "state_of_process")) == before
    assert logging.root.handlers == handlers
    build = build_function(ODD + "use_threads", 1)
    assert build.status == "SUCCESSFUL"
    lines = messages(build)
    assert "thread 0 logs" in lines
    assert "thread 0 prints" in lines
    assert lines[-1] == "Build finished with success."
    os.fstat(1)
    os.fstat(2)


@pytest.mark.usefixtures("_healthy_after")
@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("close_streams", []),
        ("replace_streams", []),
        ("disable_logging", []),
        ("configure_logging", []),
        ("reset_signals", []),
        ("close_connection", []),
        ("break_transaction", []),
    ],
)
def test_a_job_that_breaks_its_process_is_recorded(function, args):
    build = build_function(ODD + function, *args)
    assert build.status == "SUCCESSFUL", (build.exception_message, messages(build))
    assert messages(build)[-1] == "Build finished with success."


@pytest.mark.usefixtures("_healthy_after")
def test_folder_and_environment_come_back(tmp_path):
    assert build_function(ODD + "change_folder", str(tmp_path)).status == "SUCCESSFUL"
    assert build_function(ODD + "remove_folder", str(tmp_path / "gone")).status == "SUCCESSFUL"


@pytest.mark.usefixtures("_healthy_after")
def test_print_goes_on_after_the_job_closed_its_streams():
    lines = messages(build_function(ODD + "close_streams"))
    assert "before" in lines
    assert "after" in lines


@pytest.mark.usefixtures("_healthy_after")
@pytest.mark.parametrize("function", ["fork_and_return", "fork_and_raise"])
def test_a_forked_child_leaves_the_build_to_its_parent(function):
    build = build_function(ODD + function)
    assert build.status == "SUCCESSFUL"
    assert retval_of(build) == "parent"
    assert Build.objects.count() == 2
    assert not build.progress.exists()
    lines = messages(build)
    assert len(lines) == len(set(lines))


@pytest.mark.usefixtures("_healthy_after")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_job_may_use_processes(method):
    build = build_function(ODD + "use_processes", method)
    assert build.status == "SUCCESSFUL", build.exception_message
    assert retval_of(build) == [1, 4, 9]


@pytest.mark.usefixtures("_healthy_after")
def test_a_child_that_is_told_to_end_while_it_is_forked_ends():
    """A worker takes no notice of SIGTERM; a child of its job does, from its first moment on."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert retval_of(build_function(ODD + "end_children_at_once", 50)) is True
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_forked_child_does_not_disturb_the_parents_connection():
    assert retval_of(build_function(ODD + "fork_with_database")) == (0, True)


@pytest.mark.usefixtures("_healthy_after")
def test_a_lock_left_behind_is_let_go(settings):
    build = build_function(ODD + "lock_tables")
    assert build.status == "SUCCESSFUL"
    assert "all locked" in messages(build)


def test_a_thread_left_behind_finds_no_build_between_builds(capsys):
    build = build_function(ODD + "leave_thread")
    try:
        count = build.log_messages.count()
        time.sleep(0.2)
        assert build.log_messages.count() == count
        assert "left behind" in capsys.readouterr().out
    finally:
        build_function(ODD + "end_leftovers")


def test_signal_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    build_function(ODD + "reset_signals")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
