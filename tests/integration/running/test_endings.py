"""Whom the supervisor ends, and whom it leaves alone: after an outage, and in the last moment."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now

from builds import flags, services, supervisor, tasks
from builds.deletion_models import Deletion
from builds.models import Build
from builds.sessions import BuildSession
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity, _start_stamp
from jobs import registry
from jobs.redaction import Redactor
from tests.support.jobs import build, messages
from tests.support.leases import ELSEWHERE, age, claimed, requested
from tests.support.site import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

DONE = services.Outcome(status=Build.Status.SUCCESSFUL)


# --- A database that was away ---------------------------------------------------------------------


def test_after_an_outage_who_lives_may_renew_the_lease_first(monkeypatch, settings):
    """Nobody could beat while the database was away: that is no reason to end a build."""
    settings.HEARTBEAT_SECONDS = 0.5
    made = claimed(ELSEWHERE)
    looking = Supervisor(lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(services, "beat_cluster", fail_as_away)
        looking.try_tick()
    age(made)
    looking.try_tick()
    made.refresh_from_db()
    assert made.status == "RUNNING"
    wait_until(lambda: looking.try_tick() or Build.objects.get(pk=made.pk).finished)


def test_after_an_outage_what_died_is_closed_at_once(monkeypatch):
    me = WorkerIdentity.current()
    made = claimed(f"{me.host}:{me.host_id}:{me.pid}:1")
    looking = Supervisor(lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(services, "beat_cluster", fail_as_away)
        looking.try_tick()
    looking.try_tick()
    made.refresh_from_db()
    assert made.failure_kind == "worker_lost"


def test_a_new_supervisor_lets_workers_of_other_hosts_renew_their_leases_first(settings):
    """It may have been started in the moment when the database came back."""
    settings.HEARTBEAT_SECONDS = 1.5
    made = claimed(ELSEWHERE)
    age(made)
    looking = Supervisor(lambda _: None)
    looking.try_tick()
    assert Build.objects.get(pk=made.pk).status == "RUNNING"
    wait_until(lambda: looking.try_tick() or Build.objects.get(pk=made.pk).finished)


def test_a_new_supervisor_waits_for_deletions_of_other_hosts_too(settings):
    settings.HEARTBEAT_SECONDS = 1.5
    requested()
    made = Deletion.objects.create(
        build_number=1, job_id="job", state="RUNNING", worker=ELSEWHERE, claim_token=uuid.uuid4()
    )
    Deletion.objects.update(heartbeat=Now() - timedelta(hours=1))
    looking = Supervisor(lambda _: None)
    looking.try_tick()
    assert Deletion.objects.get(pk=made.pk).state == "RUNNING"
    wait_until(lambda: looking.try_tick() or Deletion.objects.get(pk=made.pk).state != "RUNNING")


def test_a_new_supervisor_is_patient_with_no_process_of_its_own_host():
    me = WorkerIdentity.current()
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        stamp = _start_stamp(hanging.pid)
        made = claimed(f"{me.host}:{me.host_id}:{hanging.pid}:{stamp}")
        age(made)
        Supervisor(lambda _: None).try_tick()
        assert Build.objects.get(pk=made.pk).failure_kind == "worker_lost"
        assert _start_stamp(hanging.pid) != stamp, "killed"
    finally:
        hanging.kill()


def fail_as_away(**_options):
    raise OperationalError("away")


def test_a_claim_whose_answer_was_lost_is_given_back(monkeypatch):
    """The server committed it and broke off: nobody would run the build, and a worker be killed."""
    (made,) = requested()
    claim, answers = services.claim, iter([True])

    def claim_and_break(**options):
        found = claim(**options)
        if next(answers, False):
            raise OperationalError("the connection broke at the commit")
        return found

    monkeypatch.setattr(services, "claim", claim_and_break)
    tasks.work()
    made.refresh_from_db()
    assert (made.status, made.worker, made.claim_token) == ("QUEUED", "", None)
    tasks.work()
    made.refresh_from_db()
    assert made.status == "SUCCESSFUL"


def test_a_claim_that_fails_after_an_end_takes_nothing_of_that_end_back(monkeypatch):
    """The next build is claimed in the same go as the last one is stored, but by itself."""
    first, second = requested(2)
    claim, answers = services.claim, iter([False, True])

    def break_the_second(**options):
        found = claim(**options)
        if next(answers, False):
            raise OperationalError("the connection broke at the commit")
        return found

    monkeypatch.setattr(services, "claim", break_the_second)
    tasks.work()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.status == "SUCCESSFUL"
    assert (second.status, second.worker, second.claim_token) == ("QUEUED", "", None)
    tasks.work()
    second.refresh_from_db()
    assert second.status == "SUCCESSFUL"


@pytest.mark.parametrize("name", ["draining", "stopping"])
def test_who_is_to_stop_claims_nothing_with_the_end_of_a_build(monkeypatch, name):
    first, second = requested(2)
    flag, finish = getattr(flags, name), services.finish_build

    def stop_meanwhile(**options):
        flag.set()
        return finish(**options)

    monkeypatch.setattr(services, "finish_build", stop_meanwhile)
    try:
        tasks.work()
    finally:
        flag.clear()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("SUCCESSFUL", "QUEUED")


def test_the_file_is_followed_before_each_claim(monkeypatch):
    requested(2)
    asked = []
    monkeypatch.setattr(registry, "ensure_current", lambda **_: asked.append("file"))
    claim = services.claim
    monkeypatch.setattr(services, "claim", lambda **it: asked.append("claim") or claim(**it))
    tasks.work()
    assert asked == ["file", "claim"] * 3


def test_only_what_runs_under_the_token_is_given_back():
    made = build("job") if requested() else None
    assert not services.unclaim(token=made.claim_token)
    assert not services.unclaim(token=uuid.uuid4())
    made.refresh_from_db()
    assert made.status == "SUCCESSFUL"


# --- Ending what does not end ---------------------------------------------------------------------


def over_its_grace(worker: WorkerIdentity | None = None) -> Build:
    """A build that was cancelled long ago and still runs, as a supervisor has just read it."""
    made = claimed(None if worker is None else str(worker))
    services.cancel_build(build=made)
    Build.objects.filter(pk=made.pk).update(cancel_requested=Now() - timedelta(hours=1))
    made.refresh_from_db()
    return made


@pytest.fixture
def killed(monkeypatch):
    """Who was killed, in place of killing."""
    found: list[WorkerIdentity] = []
    monkeypatch.setattr(WorkerIdentity, "kill", lambda worker: found.append(worker) or True)
    return found


def test_a_worker_that_has_gone_on_to_another_build_is_not_killed_for_the_last_one(
    monkeypatch, killed
):
    made = over_its_grace()
    session = BuildSession(made.pk, made.claim_token, Redactor({}))
    why = supervisor.why_to_end

    def end_meanwhile(*arguments):
        found = why(*arguments)
        services.finish_build(session=session, outcome=DONE)
        return found

    monkeypatch.setattr(supervisor, "why_to_end", end_meanwhile)
    Supervisor(lambda _: None).close_lost_builds()
    assert killed == []
    made.refresh_from_db()
    assert made.status == "CANCELLED"


def test_a_silent_worker_that_spoke_up_meanwhile_is_not_killed(monkeypatch, killed):
    made = claimed()
    age(made)
    why = supervisor.why_to_end

    def beat_meanwhile(*arguments):
        found = why(*arguments)
        services.beat(build_id=made.pk, token=made.claim_token)
        return found

    monkeypatch.setattr(supervisor, "why_to_end", beat_meanwhile)
    Supervisor(lambda _: None).close_lost_builds()
    assert killed == []
    made.refresh_from_db()
    assert made.status == "RUNNING"


def test_what_does_not_end_in_its_grace_is_killed_and_cancelled(killed):
    made = over_its_grace()
    Supervisor(lambda _: None).close_lost_builds()
    assert killed == [WorkerIdentity.current()]
    made.refresh_from_db()
    assert made.status == "CANCELLED"
    assert "was killed: it did not stop." in messages(made)[-2]


def test_a_silent_worker_is_killed_though_nobody_can_write(monkeypatch, killed):
    """It may be its own unfinished write that keeps everybody else out."""
    made = claimed()
    age(made)
    monkeypatch.setattr(services, "close_build", fail_as_away)
    monkeypatch.setattr(services, "beat_cluster", fail_as_away)
    Supervisor(lambda _: None).try_tick()
    assert killed == [WorkerIdentity.current()]


def test_a_build_that_can_not_be_ended_does_not_keep_the_others(monkeypatch, caplog):
    me = WorkerIdentity.current()
    gone = f"{me.host}:{me.host_id}:{me.pid}:1"
    bad, good = claimed(gone), claimed(gone)
    close = services.close_build

    def fail_for_one(*, build, **options):
        return 1 / 0 if build.pk == bad.pk else close(build=build, **options)

    monkeypatch.setattr(services, "close_build", fail_for_one)
    Supervisor(lambda _: None).tick()
    assert Build.objects.get(pk=good.pk).failure_kind == "worker_lost"
    assert f"build #{bad.pk} can't be ended" in caplog.text


# --- A worker that is stuck in the middle of a write ----------------------------------------------


STUCK = """
import sqlite3, sys, time
sys.stdin.readline()
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("asked", ["cancel", "timeout"])
def test_a_worker_that_locks_the_file_is_killed_all_the_same(asked, settings):
    """SQLite: nobody can write before it is gone."""
    settings.GRACE_SECONDS = 1
    made = claimed()
    long_ago = Now() - timedelta(minutes=10)
    if asked == "cancel":
        Build.objects.filter(pk=made.pk).update(cancel_requested=long_ago)
    else:
        Build.objects.filter(pk=made.pk).update(start_time=long_ago, timeout=timedelta(seconds=5))
    is_sqlite = connection.vendor == "sqlite"
    stuck = (
        STUCK if is_sqlite else "import time; input(); print('here', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", stuck, str(connection.settings_dict["NAME"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        me = WorkerIdentity.current()
        worker = WorkerIdentity(me.host, me.host_id, process.pid, _start_stamp(process.pid))
        Build.objects.filter(pk=made.pk).update(worker=str(worker))
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        assert process.stdout.readline()
        if is_sqlite:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 200")
        try:
            Supervisor(lambda _: None).close_lost_builds()
        finally:
            process.kill()
    made.refresh_from_db()
    if asked == "cancel":
        assert (made.status, made.failure_kind) == ("CANCELLED", "")
    else:
        assert (made.status, made.failure_kind) == ("FAILED", "timeout")
