"""Commands that do something: build_job, build_log, delete_build, prune_logs, uninstall."""

import io
import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from builds import queue, runner
from builds.deletion_models import Deletion
from builds.management.commands import uninstall
from builds.models import Build, LogMessage
from jobcontrol_site import following
from jobs.models import Job
from tests.support.clusters import beating
from tests.support.commands import run, run_json
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - id: good
    function: jobcontrol.utils.testing:testing_job
    kwargs: {retval: 7, log_messages: [[10, "a detail"], [30, "Odd thing"], [40, "bad thing"]]}
  - id: failing
    function: jobcontrol.utils.testing:testing_job
    kwargs: {fail: true}
  - id: skipping
    function: jobcontrol.utils.testing:testing_job
    kwargs: {skip: true}
  - id: needy
    function: tests.support.odd_jobs:value
    args: [!retval failing]
  - id: protected
    protect: true
    function: tests.support.odd_jobs:value
  - id: tidy
    function: tests.support.odd_jobs:value
    cleanup: tests.integration.commands.test_actions:tidy_up
  - id: sticky
    function: tests.support.odd_jobs:value
    cleanup: tests.integration.commands.test_actions:fail_to_tidy_up
"""
cleaned = []


def tidy_up(build):
    cleaned.append(build.id)


def fail_to_tidy_up(build):
    raise OSError("disk on fire")


@pytest.fixture(autouse=True)
def config(monkeypatch):
    cleaned.clear()
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    use_config(CONFIG)


# --- build_job ------------------------------------------------------------------------------------


def test_a_job_is_built_here_and_answered_with_its_build():
    """original #7, #33: build-job took only numbers"""
    row = run_json("build_job", "good")
    assert (row["status"], row["retval"], row["job_id"]) == ("SUCCESSFUL", "7", "good")
    assert Build.objects.get(pk=row["id"]).trigger == "cli"
    text = run("build_job", "good").out
    assert "SUCCESSFUL" in text


def test_a_failed_build_is_exit_code_1_and_still_answered():
    result = run("build_job", "failing", "--format", "json")
    assert result.code == 1
    assert result.json["status"] == "FAILED"


def test_a_skipped_build_is_exit_code_0():
    result = run("build_job", "skipping", "--format", "json")
    assert result.code == 0
    assert result.json["status"] == "SKIPPED"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "there is no job 'nope'"),
        (["protected"], "--arm"),
        (["protected", "--queue"], "--arm"),
        (["needy"], "'failing'"),
        (["good", "--wait"], "--queue"),
        ([], "JOB"),
    ],
)
def test_a_wrong_request_is_exit_code_2_one_line_and_no_build(arguments, complaint):
    """original #12"""
    result = run("build_job", *arguments, "--format", "json")
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err
    assert result.err.count("\n") == 1
    assert not Build.objects.exists()


def test_an_armed_protected_job_is_built():
    assert run_json("build_job", "protected", "--arm")["status"] == "SUCCESSFUL"


@pytest.mark.parametrize("more", [[], ["--queue"]])
def test_who_armed_a_build_at_the_command_line_stands_in_the_history(more):
    user = User.objects.create_user("operator")
    user.groups.add(Group.objects.get(name="manager"))
    row = run_json("build_job", "protected", "--arm", "--user", "operator", *more)
    assert Build.objects.get(pk=row["id"]).requested_by == user
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (user, "protected")
    assert entry.change_message == f"Armed and asked for build #{row['id']} by command line."


@pytest.mark.parametrize(
    ("user", "arguments", "complaint"),
    [
        ("viewer", ["good"], "builds.run_build is needed"),
        ("operator", ["protected", "--arm"], "builds.run_protected_build is needed"),
        ("manager", ["protected"], "--arm"),
        ("gone", ["good"], "there is no active user 'gone'"),
        ("nobody\udcff", ["good"], "there is no active user"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--queue"]])
def test_a_named_user_may_do_no_more_than_in_the_browser(user, arguments, complaint, more):
    for name in ("viewer", "operator", "manager"):
        User.objects.create_user(name).groups.add(Group.objects.get(name=name))
    User.objects.create_superuser("gone", is_active=False)
    result = run("build_job", *arguments, "--user", user, *more, "--format", "json")
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err
    assert not Build.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_queued_build_is_left_to_a_worker():
    row = run_json("build_job", "good", "--queue")
    assert row["status"] == "QUEUED"
    result = run("build_job", "good", "--queue")
    assert "is queued" in result.out
    assert "no cluster is alive: start one with 'jobcontrol-cli worker'." in result.err
    beating()
    assert run("build_job", "good", "--queue").err == ""
    queued = run_json("build_job", "protected", "--queue", "--arm")
    assert Build.objects.get(pk=queued["id"]).armed


def in_a_worker(monkeypatch):
    """Have a thread do what a woken worker does, as soon as one is woken."""

    def work():
        try:
            runner.run_next()
        finally:
            connection.close()

    monkeypatch.setattr(queue, "wake", lambda **_: threading.Thread(target=work).start())


@pytest.mark.parametrize(
    ("job", "code", "status"), [("good", 0, "SUCCESSFUL"), ("failing", 1, "FAILED")]
)
def test_waiting_follows_the_build_in_the_worker(monkeypatch, job, code, status):
    in_a_worker(monkeypatch)
    result = run("build_job", job, "--queue", "--wait", "--format", "json")
    assert (result.code, result.json["status"]) == (code, status)


def test_progress_is_drawn_on_a_terminal_and_only_there(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    drawn = []
    monkeypatch.setattr(following.LiveProgress, "show", lambda self, tree: drawn.append(tree))
    use_config(
        "jobs: [{id: slow, function: 'jobcontrol.utils.testing:testing_job', "
        "kwargs: {progress_steps: [[[a], 20]], step_duration: 20}}]"
    )
    run("build_job", "slow")
    assert not drawn
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Terminal())
        run("build_job", "slow", "--format", "json")
        assert not drawn
        assert run("build_job", "slow").code == 0
    assert drawn


# --- build_log ------------------------------------------------------------------------------------


def log_of(build, *arguments):
    return [line["message"] for line in run_json("build_log", build.pk, *arguments)]


def test_the_log_is_printed_whole_and_filtered():
    made = build("good")
    assert log_of(made) == messages(made)
    assert log_of(made, "--level", "warning") == ["Odd thing", "bad thing"]
    assert log_of(made, "--level", "40") == ["bad thing"]
    assert log_of(made, "--text", "THING") == ["Odd thing", "bad thing"]
    assert log_of(made, "--since", "1h") == messages(made)
    assert log_of(made, "--until", "1h") == []
    text = run("build_log", made.pk, "--level", "WARNING").out.splitlines()
    assert len(text) == 2
    assert "WARNING" in text[0]
    assert text[0].endswith("Odd thing")


def test_the_log_between_two_times():
    made = build("good")
    LogMessage.objects.all().delete()
    for hour in range(4):
        moment = datetime(2026, 5, 1, hour, tzinfo=UTC)
        LogMessage.objects.create(
            build=made, created=moment, level=20, logger="x", message=f"at {hour}"
        )
    assert log_of(made, "--since", "2026-05-01T01:00", "--until", "2026-05-01T02:00") == [
        "at 1",
        "at 2",
    ]


def test_a_logged_exception_is_shown():
    """original #26"""
    use_config("jobs: [{id: t, function: 'jobcontrol.utils.testing:job_with_logging'}]")
    text = run("build_log", build("t").pk).out
    assert "Traceback (most recent call last):" in text
    assert "ValueError" in text


def test_control_characters_in_a_log_do_not_reach_the_terminal():
    made = build("good")
    LogMessage.objects.create(
        build=made, created=timezone.now(), level=20, logger="x", message="\x1b[2Jgone"
    )
    assert "␛[2Jgone" in run("build_log", made.pk).out


def test_following_goes_on_until_the_build_ends():
    made = Build.objects.create(job=Job.objects.get(pk="good"), status="RUNNING")

    def work():
        try:
            for number in range(3):
                time.sleep(0.05)
                LogMessage.objects.create(
                    build=made, created=timezone.now(), level=20, logger="x", message=f"n{number}"
                )
            Build.objects.filter(pk=made.pk).update(status="SUCCESSFUL")
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    text = run("build_log", made.pk, "--follow").out
    worker.join()
    assert [line[-2:] for line in text.splitlines()] == ["n0", "n1", "n2"]


# --- delete_build ---------------------------------------------------------------------------------


def test_builds_are_deleted_after_their_cleanup():
    """original #19, #33: delete-build did nothing"""
    first, second = build("tidy"), build("good")
    rows = run_json("delete_build", first.pk, second.pk)
    assert [(row["id"], row["deleted"], row["outcome"]) for row in rows] == [
        (first.pk, True, "done"),
        (second.pk, True, "no_cleanup"),
    ]
    assert cleaned == [first.pk]
    assert not Build.objects.exists()
    assert Deletion.objects.count() == 2


def test_without_cleanup_the_function_is_not_called():
    """original #19"""
    made = build("tidy")
    assert "deleted without cleanup" in run("delete_build", made.pk, "--no-cleanup").out
    assert cleaned == []


def test_a_failing_cleanup_keeps_its_build_and_the_others_go():
    """original #19: a failing cleanup lost the pointer"""
    stuck, other = build("sticky"), build("good")
    result = run("delete_build", stuck.pk, other.pk, "--yes")
    assert result.code == 2
    assert "disk on fire" in result.err
    assert list(Build.objects.values_list("pk", flat=True)) == [stuck.pk]


def test_nothing_is_deleted_when_one_number_is_wrong():
    made = build("good")
    result = run("delete_build", made.pk, made.pk + 1)
    assert (result.code, result.err) == (2, f"there is no build {made.pk + 1}\n")
    assert Build.objects.filter(pk=made.pk).exists()


# --- prune_logs -----------------------------------------------------------------------------------


def aged(build, level, days):
    return LogMessage.objects.create(
        build=build,
        created=timezone.now() - timedelta(days=days),
        level=level,
        logger="x",
        message=f"{logging.getLevelName(level)} {days}",
    ).pk


@pytest.fixture
def old_log():
    """A build with messages of all ages, and nothing else in its log."""
    made = build("good")
    LogMessage.objects.all().delete()
    for level, days in [(10, 14), (10, 16), (20, 29), (20, 32), (30, 88), (30, 93)]:
        aged(made, level, days)
    for level, days in [(40, 178), (40, 186), (50, 178), (50, 186), (60, 360), (60, 370)]:
        aged(made, level, days)
    return made


def test_the_default_policy_is_that_of_the_manual(old_log):
    """original #34: DEBUG 15 days, INFO 1 month, WARNING 3, ERROR and CRITICAL 6, all 1 year"""
    assert run_json("prune_logs", "--dry-run") == {"deleted": 0, "matching": 6}
    assert LogMessage.objects.count() == 12
    assert run_json("prune_logs") == {"deleted": 6, "matching": 6}
    kept = [text.split()[-1] for text in messages(old_log)]
    assert kept == ["14", "29", "88", "178", "178", "360"]


def test_pruning_by_age_level_job_and_build(old_log):
    other = build("failing")
    assert run_json("prune_logs", "--age", "1h", "--job", "failing")["deleted"] == 0
    assert run_json("prune_logs", "--age", "0", "--build", other.pk)["deleted"] > 0
    assert run_json("prune_logs", "--age", "31d", "--level", "INFO", "--job", "good") == {
        "deleted": 1,
        "matching": 1,
    }
    assert "11 log messages deleted." in run("prune_logs", "--age", "86400").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--age", "old"], "'old' is no age"),
        (["--level", "LOUD"], "'LOUD' is no level"),
        (["--job", "nope"], "no job 'nope'"),
        (["--build", "99999"], "no build 99999"),
    ],
)
def test_a_typo_deletes_nothing(old_log, arguments, complaint):
    """original #34"""
    result = run("prune_logs", *arguments)
    assert result.code == 2
    assert complaint in result.err
    assert LogMessage.objects.count() == 12


# --- uninstall ------------------------------------------------------------------------------------


@pytest.fixture
def dropped(monkeypatch):
    """What would be dropped: the tables of the suite's own database are needed again."""
    tables = []
    monkeypatch.setattr(uninstall, "drop", tables.extend)
    return tables


def test_uninstall_refuses_without_a_terminal_unless_told_yes(dropped, monkeypatch):
    """original #33: uninstall did not ask"""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    result = run("uninstall")
    assert result.code == 2
    assert "--yes" in result.err
    assert not dropped


@pytest.mark.parametrize(("answer", "does"), [("yes\n", True), ("y\n", False), ("", False)])
def test_uninstall_asks_on_a_terminal(dropped, monkeypatch, answer, does):
    class Person:
        def isatty(self):
            return True

        def readline(self):
            return answer

    monkeypatch.setattr("sys.stdin", Person())
    result = run("uninstall")
    assert bool(dropped) is does
    assert result.code == (0 if does else 2)


def test_uninstall_drops_every_table_of_ours_and_install_makes_them_again(site):
    """original #33: install twice failed"""
    site.manage("uninstall", "--yes", check=True)
    result = site.manage("uninstall", "--yes", "--format", "json", check=True)
    assert json.loads(result.stdout) == {"dropped": []}
    assert site.manage("list_jobs").returncode == 2
    for _ in range(2):
        assert site.run("-m", "jobcontrol_site.cli", "install").returncode == 0
    assert site.json("list_jobs") == []


def test_uninstall_names_only_our_tables():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE somebody_elses (id integer)")
    try:
        tables = uninstall.our_tables()
        assert "somebody_elses" not in tables
        assert {"builds_build", "jobs_job", "auth_user", "django_migrations"} <= set(tables)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE somebody_elses")


def test_commands_can_be_called_from_code():
    """Nothing here depends on a command line."""
    call_command("list_jobs", verbosity=0)


def test_nothing_is_older_than_time(db):
    assert run_json("prune_logs", "--age", "999999d") == {"deleted": 0, "matching": 0}
