"""Deletions on a worker: reserved, carried out once, and nothing lost when one fails."""

import os
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from builds import deletion, queue, runner, services, tasks
from builds.deletion_models import Deletion
from builds.models import Build
from builds.services import removals
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobcontrol.exceptions import (
    BuildStateError,
    CleanupFailed,
    LeaseLost,
    MissingDependencies,
    NotFound,
)
from jobs.models import Job
from tests.support import odd_jobs
from tests.support.jobs import build, use_config
from tests.support.leases import settled
from tests.support.site import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

JOBS = """
jobs:
  - {id: good, function: "tests.support.odd_jobs:value", args: [{a: 1}],
     cleanup: "tests.support.odd_jobs:cleanup"}
  - {id: bad, function: "tests.support.odd_jobs:value",
     cleanup_function: "tests.support.odd_jobs:failing_cleanup"}
  - {id: lost, function: "tests.support.odd_jobs:value", cleanup: "no_such_module:f"}
  - {id: chatty, function: "tests.support.odd_jobs:value",
     cleanup: "tests.support.odd_jobs:chatty_cleanup"}
  - {id: forking, function: "tests.support.odd_jobs:value",
     cleanup: "tests.support.odd_jobs:forking_cleanup"}
  - {id: plain, function: "tests.support.odd_jobs:value"}
  - {id: user, function: "tests.support.odd_jobs:value", args: [!retval good]}
"""


@pytest.fixture(autouse=True)
def jobs(transactional_db):
    use_config(JOBS)
    odd_jobs.cleaned.clear()


@pytest.fixture
def wakes(monkeypatch):
    sent = []
    monkeypatch.setattr(queue, "wake", lambda times=1, queue="default": sent.append(times) or True)
    return sent


def request_build(job_id):
    return services.request_build(job=Job.objects.get(pk=job_id), trigger="cli")


def claimed():
    """A deletion that some worker of another host holds."""
    made = services.claim_deletion(worker=WorkerIdentity("far", "other", 1, "2"))
    assert made is not None
    return made


def test_a_deletion_waits_cleans_up_and_is_kept(wakes):
    """original #19"""
    made = build("good")
    asked = services.request_deletion(build=made)
    assert (asked.state, asked.outcome, asked.cleanup_function) == (
        "WAITING",
        "",
        "tests.support.odd_jobs:cleanup",
    )
    assert wakes == [1]
    assert odd_jobs.cleaned == []
    tasks.work()
    assert odd_jobs.cleaned == [(made.pk, {"a": 1}, True)]
    assert not Build.objects.exists()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome) == ("DONE", "done")
    assert asked.ended is not None
    assert f"INFO cleaning build {made.pk}" in asked.log
    assert "removing its files" in asked.log
    assert WorkerIdentity.parse(asked.worker) == WorkerIdentity.current()


@pytest.mark.parametrize("job_id", ["good", "bad"])
def test_without_cleanup_the_function_is_not_called(job_id, wakes):
    """original #19: delete(cleanup=False) skips it"""
    asked = services.request_deletion(build=build(job_id), cleanup=False)
    deletion.run_next()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome) == ("DONE", "skipped")
    assert odd_jobs.cleaned == []
    assert not Build.objects.exists()


@pytest.mark.parametrize(
    ("job_id", "error"), [("bad", "RuntimeError"), ("lost", "ModuleNotFoundError")]
)
def test_a_failing_cleanup_keeps_the_build_which_may_be_used_again(job_id, error, wakes):
    """original #19: a failing cleanup lost the pointer"""
    made = build(job_id)
    asked = services.request_deletion(build=made)
    deletion.run_next()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome, asked.traceback["type"]) == ("FAILED", "failed", error)
    made.refresh_from_db()
    assert made.deleting is False
    assert Build.objects.usable().get() == made
    again = services.request_deletion(build=made, cleanup=False)
    deletion.run_next()
    again.refresh_from_db()
    assert again.state == "DONE"


def test_a_build_without_cleanup_function_just_goes(wakes):
    asked = services.request_deletion(build=build("plain"))
    deletion.run_next()
    asked.refresh_from_db()
    assert (asked.state, asked.outcome) == ("DONE", "no_cleanup")


def test_a_cleanup_that_logs_much_is_not_held_up_and_nothing_is_dropped(monkeypatch):
    """A full buffer makes callers wait for the writer; here nobody took anything out."""
    monkeypatch.setattr("builds.logs.MAX_WAITING", 298)
    made = build("chatty")
    assert deletion.delete_build(build=made).outcome == "done"
    lines = Deletion.objects.get().log.splitlines()
    assert len(lines) == 300
    assert lines[0].endswith("INFO removing file 0")
    assert lines[-1].endswith("INFO removing file 299")


def test_a_forked_child_leaves_the_deletion_to_its_parent():
    """Coming back out of the function it would delete the build, and go on as a second worker."""
    odd_jobs.forked.clear()
    made = build("forking")
    owner = os.getpid()
    try:
        done = deletion.delete_build(build=made)
    finally:
        if os.getpid() != owner:
            os._exit(9)
    assert odd_jobs.forked == [0]
    assert done.outcome == "done"
    assert not Build.objects.exists()


@pytest.mark.parametrize(
    ("text", "end"), [("no luck", "no luck."), ("no luck.", "no luck."), ("why?", "why?")]
)
def test_the_word_on_a_failed_cleanup_is_made_of_sentences(monkeypatch, text, end):
    def fail(*_):
        raise RuntimeError(text)

    monkeypatch.setattr("builds.calling.call", fail)
    made = services.create_build(job=Job.objects.get(pk="bad"), trigger="python")
    with pytest.raises(CleanupFailed) as caught:
        deletion.delete_build(build=made)
    said = f" failed with RuntimeError: {end} Mend that, or delete it without cleanup."
    assert str(caught.value).endswith(said)


def test_in_place_a_failing_cleanup_raises_and_is_kept():
    made = build("bad")
    with pytest.raises(CleanupFailed, match="the files are on strike"):
        deletion.delete_build(build=made)
    assert Deletion.objects.get().state == "FAILED"
    made.refresh_from_db()
    assert made.deleting is False


# --- what is in use -------------------------------------------------------------------------------


def test_what_is_being_deleted_can_not_be_deleted_again_nor_used(wakes):
    made = build("good")
    services.request_deletion(build=made)
    with pytest.raises(BuildStateError, match="is being deleted already"):
        services.request_deletion(build=made)
    with pytest.raises(MissingDependencies, match="'good'"):
        request_build("user")


def test_what_an_unfinished_build_needs_stays(wakes):
    made = build("good")
    user = request_build("user")
    with pytest.raises(BuildStateError, match=rf"unfinished builds need it \(#{user.pk}\)"):
        services.request_deletion(build=made)
    runner.run_here(user)
    services.request_deletion(build=made)


def test_a_running_build_stays(wakes):
    made = request_build("plain")
    services.claim(worker=WorkerIdentity.current())
    with pytest.raises(BuildStateError, match="is running"):
        services.request_deletion(build=made)


def test_a_build_that_is_gone_is_not_found(wakes):
    made = build("plain")
    Build.objects.filter(pk=made.pk).delete()
    with pytest.raises(NotFound, match=f"build #{made.pk} is not there any more"):
        services.request_deletion(build=made)


def test_a_queued_build_that_is_being_deleted_is_not_run(wakes):
    """A worker takes builds before deletions: it would run what was to go."""
    made = request_build("good")
    services.request_deletion(build=made)
    assert services.claim(worker=WorkerIdentity.current()) is None
    assert services.claim(worker=WorkerIdentity.current(), build_id=made.pk) is None
    tasks.work()
    assert odd_jobs.cleaned == [(made.pk, None, False)]
    assert not Build.objects.exists()


def test_a_created_build_that_is_being_deleted_is_not_queued(wakes):
    made = services.create_build(job=Job.objects.get(pk="plain"), trigger="python")
    services.request_deletion(build=made)
    with pytest.raises(BuildStateError, match="being deleted"):
        services.queue_build(build=made)


# --- many -----------------------------------------------------------------------------------------


def test_many_are_reserved_in_a_few_statements(wakes, settings, django_assert_max_num_queries):
    settings.WORKERS = 4
    good, running = build("good"), request_build("plain")
    services.claim(worker=WorkerIdentity.current(), build_id=running.pk)
    many = Build.objects.bulk_create(Build(job_id="plain", status="FAILED") for _ in range(200))
    numbers = [good.pk, running.pk, *(one.pk for one in many), 10**9]
    wakes.clear()
    with django_assert_max_num_queries(11):
        made, refused = services.request_deletions(builds=numbers, cleanup=False)
    assert len(made) == 201
    assert refused == [f"build #{running.pk} is running and can't be deleted now."]
    assert wakes == [4]
    assert made[0].cleanup_function == "tests.support.odd_jobs:cleanup"
    assert Build.objects.filter(deleting=True).count() == 201
    assert services.request_deletions(builds=[good.pk])[0] == []


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_who_holds_what_waits_can_lock_what_ended_while_both_are_to_be_deleted(wakes):
    ended = build("plain")
    waiting = request_build("plain")

    def delete() -> None:
        try:
            services.request_deletions(builds=[ended.pk, waiting.pk], cleanup=False)
        finally:
            connection.close()

    # As an end does that lets a build of a plan go on: what waits first, then what it is to use.
    with transaction.atomic():
        list(Build.objects.select_for_update().filter(pk=waiting.pk))
        deleting = threading.Thread(target=delete)
        deleting.start()
        wait_until(is_somebody_locked_out)
        list(Build.objects.select_for_update(nowait=True).filter(pk=ended.pk))
    deleting.join()
    assert Build.objects.filter(deleting=True).count() == 2


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_a_build_that_runs_is_not_waited_for(wakes):
    ended, running = build("plain"), request_build("plain")
    services.claim(worker=WorkerIdentity.current(), build_id=running.pk)
    refused = []

    def delete() -> None:
        try:
            refused.extend(services.request_deletions(builds=[ended.pk, running.pk])[1])
        finally:
            connection.close()

    with transaction.atomic():
        list(Build.objects.select_for_update().filter(pk=running.pk))
        deleting = threading.Thread(target=delete)
        deleting.start()
        deleting.join(timeout=60)
        assert refused == [f"build #{running.pk} is running and can't be deleted now."]
    deleting.join()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
@pytest.mark.parametrize("by_worker", [False, True])
def test_a_build_that_is_cancelled_while_it_is_removed_leaves_nothing_behind(wakes, by_worker):
    made = request_build("plain")
    services.request_deletion(build=made)
    failed = []

    def remove() -> None:
        try:
            if by_worker:
                found = services.claim_deletion(worker=WorkerIdentity.current())
                services.finish_deletion(deletion=found, outcome=Deletion.Outcome.NO_CLEANUP)
            else:
                removals.remove_builds(builds=[made.pk])
        except DatabaseError as error:
            failed.append(error)
        finally:
            connection.close()

    with transaction.atomic():
        services.cancel_build(build=made)
        removing = threading.Thread(target=remove)
        removing.start()
        wait_until(is_somebody_locked_out)
    removing.join()
    assert failed == []
    assert not Build.objects.exists()


def is_somebody_locked_out() -> bool:
    """Whether another connection waits for a lock of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


def test_nothing_to_delete_wakes_nobody(wakes):
    assert services.request_deletions(builds=[]) == ([], [])
    assert wakes == []


# --- leases ---------------------------------------------------------------------------------------


def test_each_deletion_is_claimed_once_the_oldest_first(wakes):
    first = services.request_deletion(build=build("plain"))
    second = services.request_deletion(build=build("plain"))
    worker = WorkerIdentity.current()
    assert services.claim_deletion(worker=worker) == first
    assert services.claim_deletion(worker=worker) == second
    assert services.claim_deletion(worker=worker) is None


def test_only_the_holder_of_the_token_beats_and_finishes(wakes):
    made = build("plain")
    services.request_deletion(build=made)
    held = claimed()
    Deletion.objects.update(heartbeat=Now() - timedelta(hours=1))
    assert not services.beat_deletion(deletion_id=held.pk, token=uuid.uuid4())
    assert services.beat_deletion(deletion_id=held.pk, token=held.claim_token)
    assert not services.close_lost_deletion(deletion=held, lease_seconds=60)
    held.claim_token = uuid.uuid4()
    with pytest.raises(LeaseLost):
        services.finish_deletion(deletion=held, outcome=Deletion.Outcome.DONE)
    assert Build.objects.filter(pk=made.pk, deleting=True).exists()


def close_lost():
    settled().close_lost_deletions()


def test_the_supervisor_closes_deletions_whose_lease_is_over(wakes, settings):
    made = build("good")
    services.request_deletion(build=made)
    held = claimed()
    close_lost()
    held.refresh_from_db()
    assert held.state == "RUNNING", "its lease is not over"
    Deletion.objects.update(heartbeat=Now() - timedelta(seconds=settings.LEASE_SECONDS + 1))
    close_lost()
    held.refresh_from_db()
    assert (held.state, held.outcome) == ("FAILED", "failed")
    assert "process 1 on far" in held.log
    made.refresh_from_db()
    assert made.deleting is False
    with pytest.raises(LeaseLost):
        services.finish_deletion(deletion=held, outcome=Deletion.Outcome.DONE)
    assert Build.objects.filter(pk=made.pk).exists()


def test_the_supervisor_closes_at_once_what_a_dead_process_of_this_host_held(wakes):
    services.request_deletion(build=build("good"))
    here = WorkerIdentity.current()
    gone = WorkerIdentity(here.host, here.host_id, here.pid, "0")
    services.claim_deletion(worker=gone)
    close_lost()
    assert Deletion.objects.get().state == "FAILED"


def test_the_supervisor_leaves_living_workers_alone(wakes):
    services.request_deletion(build=build("good"))
    services.claim_deletion(worker=WorkerIdentity.current())
    close_lost()
    assert Deletion.objects.get().state == "RUNNING"


def test_a_lost_wake_up_for_a_deletion_is_sent_again(wakes):
    services.request_deletion(build=build("plain"))
    wakes.clear()
    woken: list[int] = []
    Supervisor(woken.append).wake_for_what_waits()
    assert woken == [1]
