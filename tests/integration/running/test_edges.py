"""Between two steps: a secret that went, a thread after a nested build, a late user."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

import pytest
from django.db import connection, transaction
from django.utils import timezone

from builds import deletion, retention, runner, services
from builds.deletion_models import Deletion
from builds.models import Build, LogMessage
from builds.progress import progress_tree
from jobcontrol.core import JobControl
from jobcontrol.exceptions import CleanupFailed, NotInBuild, ProtectedJob
from jobcontrol.globals import current_app
from jobs import registry
from jobs.models import Job
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "tests.integration.running.test_edges:"


def test_a_secret_that_is_gone_fails_the_build_naming_it():
    text = "jobs: [{id: a, function: 'tests.support.odd_jobs:value', args: [!secret token]}]"
    use_config("secret: {token: hunter22-hunter22}\n" + text)
    made = services.create_build(job=Job.objects.get(pk="a"), trigger="python")
    use_config("jobs: [{id: a, function: 'tests.support.odd_jobs:value'}]")
    ended = runner.run_here(made)
    assert ended.status == "FAILED"
    assert ended.exception_type.endswith("InvalidRequest")
    assert "the secret 'token' is no longer" in ended.exception_message


def say(text):
    print(text)
    current_app.report_progress((text,), 1, 1)


def build_and_say(job_id):
    current_app.build_job(job_id)
    thread = threading.Thread(target=say, args=("from a thread of the outer build",))
    thread.start()
    thread.join()


def test_threads_after_a_nested_build_are_of_the_outer_one():
    """original #29"""
    use_config(
        f"""
        jobs:
          - {{id: inner, function: "{HERE}say", args: [inner]}}
          - {{id: outer, function: "{HERE}build_and_say", args: [inner]}}
        """
    )
    outer = build("outer")
    assert "from a thread of the outer build" in messages(outer)
    assert [child.name for child in progress_tree(outer).children] == [
        "from a thread of the outer build"
    ]
    inner = Build.objects.get(job_id="inner")
    assert "inner" in messages(inner)
    assert "from a thread of the outer build" not in messages(inner)


CLEANED = f"""
jobs:
  - {{id: a, function: "tests.support.odd_jobs:value", cleanup: "{HERE}__CLEANUP__"}}
  - {{id: b, function: "tests.support.odd_jobs:value", args: [!retval a]}}
"""


def ask_for_a_dependant(build):
    services.request_build(job=Job.objects.get(pk="b"), trigger="python")


def leave(build):
    sys.exit("no")


def test_nothing_may_use_a_build_since_its_cleanup_began():
    use_config(CLEANED.replace("__CLEANUP__", "ask_for_a_dependant"))
    made = build("a")
    with pytest.raises(CleanupFailed, match="no successful build of 'a'"):
        deletion.delete_build(build=made)
    made.refresh_from_db()
    assert not made.deleting
    assert not Build.objects.filter(job_id="b").exists()
    assert services.request_build(job=Job.objects.get(pk="b"), trigger="python")


def test_a_cleanup_function_that_ends_the_process_has_failed():
    """original #19, #23"""
    use_config(CLEANED.replace("__CLEANUP__", "leave"))
    made = build("a")
    with pytest.raises(CleanupFailed, match="SystemExit: no"):
        deletion.delete_build(build=made)
    assert Build.objects.filter(pk=made.pk).exists()
    assert Deletion.objects.get().traceback["type"] == "SystemExit"


def test_a_build_that_others_used_can_be_deleted_once_they_are_finished(django_user_model):
    use_config(CLEANED.replace("__CLEANUP__", "say"))
    user = django_user_model.objects.create(username="someone")
    made = build("a")
    used = build("b")
    done = deletion.delete_build(build=made, requested_by=user, cleanup=False)
    assert Deletion.objects.get(pk=done.pk).requested_by == user
    assert done.outcome == "skipped"
    assert not Build.objects.filter(pk=made.pk).exists()
    link = used.inputs.get()
    assert (link.dep_build_id, link.dep_build_number) == (None, made.pk)


def test_the_log_of_a_running_build_is_never_pruned():
    """original #34"""
    use_config(CLEANED.replace("__CLEANUP__", "say"))
    made = build("a")
    count = made.log_messages.count()
    Build.objects.filter(pk=made.pk).update(status="RUNNING")
    assert retention.prune_logs(max_age=0) == 0
    assert made.log_messages.count() == count > 0
    Build.objects.filter(pk=made.pk).update(status="SUCCESSFUL")
    assert retention.prune_logs(max_age=0, dry_run=True) == count
    assert retention.prune_logs(max_age=0) == count


def test_logs_are_pruned_in_small_steps(monkeypatch):
    use_config(CLEANED.replace("__CLEANUP__", "say"))
    made = build("a")
    LogMessage.objects.bulk_create(
        LogMessage(build=made, created=timezone.now(), level=20, logger="x", message="m")
        for _ in range(23)
    )
    monkeypatch.setattr(retention, "CHUNK", 5)
    assert retention.prune_logs(max_age=0) >= 23
    assert not made.log_messages.exists()


def test_a_refused_build_of_a_protected_job_leaves_nothing():
    use_config("jobs: [{id: a, protect: true, function: 'tests.support.odd_jobs:value'}]")
    with pytest.raises(ProtectedJob):
        JobControl().build_job("a")
    assert not Build.objects.exists()


def build_and_take_back(job_id):
    with suppress(ZeroDivisionError), transaction.atomic():
        current_app.create_build(job_id)
        raise ZeroDivisionError


def test_a_build_made_in_a_transaction_that_is_taken_back_is_there():
    if connection.vendor != "postgresql":
        pytest.skip("on SQLite one transaction writes at a time")
    use_config(
        f"""
        jobs:
          - {{id: inner, function: "tests.support.odd_jobs:value"}}
          - {{id: outer, function: "{HERE}build_and_take_back", args: [inner]}}
        """
    )
    outer = build("outer")
    assert outer.status == "SUCCESSFUL", outer.exception_message
    assert Build.objects.get(job_id="inner").status == "CREATED"


def test_new_secrets_are_masked_from_the_moment_the_file_has_them():
    use_config("secret: {token: hunter22-hunter22}\njobs: []")
    use_config("secret: {token: trustno1-trustno1}\njobs: []")
    assert registry.redactor().redact("a trustno1-trustno1") == "a •••"


@pytest.mark.timeout(60)
def test_a_child_forked_while_the_configuration_was_read_does_not_wait_for_ever():
    held, done = threading.Event(), threading.Event()

    def hold():
        with registry._process.lock:
            held.set()
            done.wait(50)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait(50)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if registry._process.lock.acquire(timeout=5) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        thread.join()


def test_progress_outside_a_build_is_a_clear_mistake():
    """original #27"""
    with pytest.raises(NotInBuild, match="report_progress"):
        JobControl().report_progress(None, 1, 2)
