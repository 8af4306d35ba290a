"""Claims, leases and the supervisor: one holder at a time, and nobody is forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from datetime import timedelta
from threading import Event

import psutil
import pytest
from django.db import OperationalError, connection, transaction

from builds import retvals, services, supervisor, tasks
from builds.models import Build
from builds.recorder import recorder
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity, _start_stamp
from jobs import registry
from jobs.models import Job
from tests.support.jobs import build, build_function, messages, use_config
from tests.support.leases import ELSEWHERE, ONE_JOB, age, claimed, requested, settled

pytestmark = pytest.mark.django_db(transaction=True)

WATCHED = "tests.support.watched_jobs:"


def retval_of(made: Build):
    return retvals.unseal(made.pk, bytes(made.payload.retval))


# --- Claims ---------------------------------------------------------------------------------------


def test_a_claim_starts_the_lease_and_names_its_holder():
    made = claimed()
    again = Build.objects.get(pk=made.pk)
    assert again.status == "RUNNING"
    assert again.worker == str(WorkerIdentity.current())
    assert again.claim_token is not None
    assert again.heartbeat is not None
    assert again.start_time is not None
    assert again.end_time is None


def test_the_older_request_of_equal_priority_comes_first():
    made = requested(3)
    worker = WorkerIdentity.current()
    assert [services.claim(worker=worker).pk for _ in made] == [one.pk for one in made]


def test_many_claimers_share_the_builds_and_none_is_taken_twice():
    made = requested(60)
    worker, taken, failures = WorkerIdentity.current(), [], []
    barrier = threading.Barrier(4)

    def claim_all():
        try:
            barrier.wait()
            while (found := services.claim(worker=worker)) is not None:
                taken.append((found.pk, found.claim_token))
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(pk for pk, _ in taken) == [one.pk for one in made]
    assert len({token for _, token in taken}) == 60
    assert Build.objects.running().count() == 60


def test_a_claim_passes_over_what_another_is_just_claiming():
    if connection.vendor != "postgresql":
        pytest.skip("on SQLite one transaction writes at a time")
    first, second = requested(2)
    held, done = Event(), Event()

    def claim_slowly():
        with transaction.atomic():
            found = services.claim(worker=WorkerIdentity.current())
            assert found.pk == first.pk
            held.set()
            done.wait(60)
        connection.close()

    slow = threading.Thread(target=claim_slowly)
    slow.start()
    try:
        assert held.wait(60)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
            assert services.claim(worker=WorkerIdentity.current()).pk == second.pk
    finally:
        done.set()
        slow.join()


def test_a_build_that_was_named_and_claimed_is_not_claimed_again():
    made = claimed()
    worker = WorkerIdentity.current()
    assert services.claim(worker=worker, build_id=made.pk) is None
    Build.objects.filter(pk=made.pk).update(status="WAITING")
    assert services.claim(worker=worker, build_id=made.pk) is None


# --- Leases ---------------------------------------------------------------------------------------


def test_a_heartbeat_renews_the_lease_of_the_holder_only():
    made = claimed()
    age(made)
    assert not services.beat(build_id=made.pk, token=uuid.uuid4())
    assert Build.objects.get(pk=made.pk).heartbeat == made.heartbeat
    assert services.beat(build_id=made.pk, token=made.claim_token)
    assert Build.objects.get(pk=made.pk).heartbeat > made.heartbeat + timedelta(minutes=59)


def test_a_running_build_is_kept_alive_by_heartbeats(settings):
    settings.HEARTBEAT_SECONDS = 0.05
    assert retval_of(build_function(WATCHED + "wait_for_a_heartbeat")) is True


def test_a_build_that_runs_one_short_build_after_the_other_is_kept_alive(settings):
    settings.HEARTBEAT_SECONDS = 0.5
    function = WATCHED + "run_others_until_a_heartbeat"
    use_config(f"{ONE_JOB}  - {{id: around, function: '{function}', args: [job]}}\n")
    assert retval_of(build("around")) is True


def test_records_can_be_read_while_the_build_runs():
    assert retval_of(build_function(WATCHED + "wait_for_own_records")) is True


def test_a_session_that_lost_its_lease_writes_nothing_more(settings):
    settings.HEARTBEAT_SECONDS = 0.05
    token = uuid.uuid4()
    made = build_function(WATCHED + "lose_the_lease", str(token))
    assert made.status == "RUNNING"
    assert made.claim_token == token
    assert made.payload.retval is None
    assert "after the lease was lost" not in messages(made)
    assert not made.progress.exists()


def test_the_recorder_never_waits_long_for_a_lock():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has a limit for every connection")

    def limit():
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return cursor.fetchone()[0]

    assert recorder().call(limit) == "5s"


# --- The supervisor -------------------------------------------------------------------------------

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def family():
    """A process of ours with a child: its identity as a worker, and the child's process."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as process:
        child = psutil.Process(int(process.stdout.readline()))
        me = WorkerIdentity.current()
        yield (
            WorkerIdentity(me.host, me.host_id, process.pid, _start_stamp(process.pid)),
            child,
        )
        for one in (child, process):
            with suppress(psutil.NoSuchProcess):
                one.kill()


def tick() -> None:
    settled().tick()


def test_a_hanging_worker_of_this_host_is_killed_with_its_children_before_the_record_says_so(
    family, monkeypatch
):
    worker, child = family
    made = claimed(str(worker))
    tick()
    assert worker.is_alive(), "its lease is not over"
    age(made)
    close = services.close_build
    alive_at_close = []

    def look(**options):
        alive_at_close.append(worker.is_alive())
        return close(**options)

    monkeypatch.setattr(services, "close_build", look)
    tick()
    assert alive_at_close == [False]
    made.refresh_from_db()
    assert (made.status, made.failure_kind) == ("FAILED", "worker_lost")
    assert made.end_time is not None
    assert f"process {worker.pid} on" in made.exception_message
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_has_the_number_of_a_dead_worker_is_spared(family):
    worker, child = family
    other = WorkerIdentity(worker.host, worker.host_id, worker.pid, "1")
    made = claimed(str(other))
    age(made)
    tick()
    made.refresh_from_db()
    assert made.failure_kind == "worker_lost"
    assert worker.is_alive()
    assert child.is_running()


def test_workers_elsewhere_are_judged_by_their_lease_alone():
    made = claimed(ELSEWHERE)
    tick()
    assert Build.objects.get(pk=made.pk).status == "RUNNING"


def test_a_build_whose_heartbeat_came_after_all_is_not_closed():
    made = claimed(ELSEWHERE)
    lost = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")
    assert not services.close_build(build=made, outcome=lost, lease_seconds=60)
    assert Build.objects.get(pk=made.pk).status == "RUNNING"


def test_two_supervisors_close_a_lost_build_once():
    made = claimed(ELSEWHERE)
    age(made)
    stale = Build.objects.get(pk=made.pk)
    tick()
    lost = services.Outcome(status=Build.Status.FAILED, failure_kind="worker_lost")
    assert not services.close_build(build=stale, outcome=lost, lease_seconds=60)
    tick()
    assert [line for line in messages(made) if "was lost" in line] == messages(made)
    assert len(messages(made)) == 1


@pytest.fixture
def quick_ticks(monkeypatch):
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "MAX_BACKOFF_SECONDS", 0.02)


@pytest.mark.usefixtures("quick_ticks")
@pytest.mark.timeout(30)
def test_the_loop_outlives_a_database_that_fails_and_ends_when_told(monkeypatch):
    stop, ticks = Event(), []

    def fail():
        ticks.append(1)
        if len(ticks) == 3:
            stop.set()
        raise OperationalError("gone")

    loop = Supervisor(lambda _: None)
    monkeypatch.setattr(loop, "tick", fail)
    loop.run(stop, lambda: True)
    assert len(ticks) == 3


@pytest.mark.usefixtures("quick_ticks")
@pytest.mark.timeout(30)
def test_the_loop_outlives_an_error_that_nobody_expected(monkeypatch, caplog):
    """Its end would be that of all workers, and of what runs in them."""
    rounds, stop = [], Event()

    def tick(_self):
        rounds.append(1)
        if len(rounds) == 1:
            raise ZeroDivisionError
        stop.set()

    monkeypatch.setattr(Supervisor, "tick", tick)
    Supervisor(lambda _: None).run(stop, lambda: True)
    assert len(rounds) == 2
    assert "a round of the supervisor failed" in caplog.text


def test_the_loop_ends_with_its_cluster(monkeypatch):
    alive = iter([True, True, False])
    loop = Supervisor(lambda _: None)
    ticks = []
    monkeypatch.setattr(loop, "tick", lambda: ticks.append(1))
    loop.run(Event(), lambda: next(alive))
    assert len(ticks) == 3, "one at once, then one a round"


def test_each_round_follows_the_file(monkeypatch):
    followed = []
    monkeypatch.setattr(registry, "ensure_current", lambda **_: followed.append(1))
    tick()
    assert followed == [1]


# --- A woken worker -------------------------------------------------------------------------------


def test_a_woken_worker_takes_all_that_waits(monkeypatch):
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 60.0)
    requested(3)
    tasks.work()
    assert set(Build.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}
    tasks.work()


def test_a_woken_worker_returns_to_the_queue_after_a_while(monkeypatch):
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 0.0)
    requested(3)
    tasks.work()
    assert Build.objects.queued().count() == 2


def test_the_build_says_who_asked_and_with_what(django_user_model):
    use_config(ONE_JOB)
    user = django_user_model.objects.create(username="someone")
    job = Job.objects.get(pk="job")
    made = services.request_build(job=job, trigger="quick", requested_by=user)
    again = Build.objects.get(pk=made.pk)
    assert (again.requested_by, again.trigger, again.priority) == (user, "quick", 3)
    assert not again.armed
    assert again.config_revision is not None
    assert again.config_revision.sources
    assert again.payload.config == job.config
    assert again.payload.config_text == job.config_text != ""
    assert build("job").start_time is not None
