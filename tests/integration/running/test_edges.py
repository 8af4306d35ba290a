"""Between two steps: a secret that went, a thread after a nested build, a late user."""

from __future__ import annotations

import sys
import threading

import pytest

from builds import deletion, retention, runner, services
from builds.models import Build, Deletion
from builds.progress import progress_tree
from jobcontrol.exceptions import BuildStateError, CleanupFailed
from jobcontrol.globals import current_app
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


def test_a_build_that_is_needed_since_its_cleanup_began_is_kept():
    use_config(CLEANED.replace("__CLEANUP__", "ask_for_a_dependant"))
    made = build("a")
    with pytest.raises(BuildStateError, match="unfinished builds need it"):
        deletion.delete_build(build=made)
    assert Build.objects.filter(pk=made.pk).exists()
    assert Build.objects.get(job_id="b").inputs.get().dep_build_id == made.pk


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
