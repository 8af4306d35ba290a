"""No statement of a run or of the supervisor reads a large table, however many builds there are.

`JOBCONTROL_PLANS=1000000` looks at a million builds.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ

from builds import housekeeping, queue, services, tasks
from builds.deletion_models import Deletion
from builds.models import (
    Build,
    BuildDependency,
    BuildPayload,
    BuildProgress,
    LogMessage,
)
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from builds.schedule_models import ScheduledRun
from builds.supervisor import Supervisor
from builds.token_models import UsedNonce
from builds.workers import WorkerIdentity
from jobs import config, registry
from jobs.models import Job
from jobs.tags import Retval
from tests.support.explained import LARGE, explained
from tests.support.leases import ELSEWHERE
from tests.support.many import copies

JOBS = 301  # an odd number, so that each has builds of all states
# SQLite plans by its indexes, whatever the number of rows.
FEW = 20_000 if connection.vendor == "postgresql" else 3_000
BUILDS = int(os.environ.get("JOBCONTROL_PLANS", FEW))
MOST = 3_000  # rows that one statement may read; more than there are of any job's
QUEUED, FULL, RUNNING, WAITING = 500, 200, 40, 200
ODD = "tests.support.odd_jobs:"

pytestmark = pytest.mark.django_db(transaction=True)


def fill():
    jobs = [
        {
            "id": f"job-{n}",
            "function": f"{ODD}value",
            "dependencies": [f"job-{n // 3}"] if n else [],
            "schedule": ["every 1h"] if n % 20 == 5 else [],
            "rebuild": "auto" if n % 10 == 1 else "manual",
        }
        for n in range(JOBS)
    ]
    jobs += [
        {"id": "full", "function": f"{ODD}value", "concurrency": 1},
        {"id": "limited", "function": f"{ODD}value", "concurrency": 2},
        {"id": "reader", "function": f"{ODD}value", "args": [Retval("job-200")]},
        {"id": "retried", "function": f"{ODD}raise_", "args": ["ValueError"], "retries": 1},
        {"id": "short", "function": f"{ODD}value", "retention": {"builds": {"count": 5}}},
    ]
    configuration = config.load_object({"jobs": jobs})
    registry.use(configuration)
    registry.sync(configuration, check_functions=False)
    now = timezone.now()
    # Half of the builds are of one job.
    job = f"CASE WHEN n % 2 = 0 THEN 'job-0' ELSE 'job-' || CAST(n / 2 % {JOBS} AS text) END"
    first = Build.objects.create(
        id=1, job_id="job-1", status="SUCCESSFUL", start_time=now, end_time=now
    )
    states = "CASE n % 10 WHEN 7 THEN 'FAILED' WHEN 8 THEN 'SKIPPED' WHEN 9 THEN 'CANCELLED' "
    copies(first, range(2, BUILDS), id="n", job_id=job, status=f"{states} ELSE 'SUCCESSFUL' END")
    every = range(2, BUILDS)
    copies(BuildPayload.objects.create(build=first, retval_text="1"), every, build_id="n")
    used = BuildDependency.objects.create(
        build=first, job_id="job-0", dep_build=first, dep_build_number=1
    )
    copies(used, every, build_id="n", dep_build_id="n / 2 + 1", dep_build_number="n / 2 + 1")
    line = LogMessage.objects.create(build=first, created=now, level=20, logger="x", message="m")
    copies(line, every, build_id="n", level="10 + n % 3 * 10")
    bar = BuildProgress.objects.create(
        build=first, group_name="[]", group_digest="x", current=1, total=1, position=1, updated=now
    )
    copies(bar, every, build_id="n")
    gone = Deletion.objects.create(job_id="job-1", build_number=1, state="DONE", ended=now)
    copies(gone, range(BUILDS // 10), build_number="n")
    nonce = UsedNonce.objects.create(nonce="1", build_number=1)
    copies(nonce, range(BUILDS // 10), nonce="'nonce ' || CAST(n AS text)")
    run = ScheduledRun.objects.create(job_id="job-1", entry="x", due=now, state="STARTED")
    copies(run, range(BUILDS // 10), entry="'entry ' || CAST(n AS text)")
    # Wake-ups of a queue that nobody serves.
    copies(OrmQ.objects.create(key="nobody", payload="x"), range(BUILDS // 10))
    fill_unfinished(first)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            last = "pg_get_serial_sequence('builds_build', 'id')"
            cursor.execute(f"SELECT setval({last}, max(id)) FROM builds_build")
            cursor.execute("ANALYZE")


def fill_unfinished(first):
    """What runs elsewhere, waits for a worker, for a build of its plan, or for its job."""
    plan = Plan.objects.create(job_id="job-0")
    number = BUILDS
    kinds = [("RUNNING", "job-2", RUNNING), ("QUEUED", "job-3", QUEUED), ("QUEUED", "full", FULL)]
    for status, job_id, count in [*kinds, ("RUNNING", "full", 1), ("WAITING", "job-4", WAITING)]:
        made = Build.objects.create(id=number, job_id=job_id, status=status)
        if status == "RUNNING":
            Build.objects.filter(pk=number).update(worker=ELSEWHERE, heartbeat=Now())
        if status == "WAITING":
            Build.objects.filter(pk=number).update(plan=plan)
        made.refresh_from_db()
        if count > 1:
            copies(made, range(number + 1, number + count), id="n")
        every = range(number, number + count)
        payload = BuildPayload.objects.get(build=first)
        copies(payload, every, build_id="n", config=f'\'{{"function": "{ODD}value"}}\'')
        if status == "WAITING":
            used = BuildDependency.objects.create(
                build=made, job_id="job-2", dep_build_id=BUILDS, dep_build_number=BUILDS
            )
            copies(used, every[1:], build_id="n")
        number += count


def ask(name, **wish):
    return services.request_build(job=Job.objects.get(pk=name), trigger="cli", **wish)


def work(*builds, aside):
    """Run these builds, one for each wake-up, before all others."""
    for made in builds:
        with aside():
            Build.objects.filter(pk=made.pk).update(priority=made.pk)
            OrmQ.objects.exclude(key="nobody").delete()
        queue.wake()
        assert queue._broker().dequeue()
        tasks.work()
        made.refresh_from_db()
        assert made.finished


def test_no_statement_reads_much_of_a_large_table(monkeypatch):
    """All of it at one site, which takes longer to fill than to look at."""
    fill()
    monkeypatch.setattr(tasks, "SLICE_SECONDS", 0.0)
    with explained(MOST) as found:
        for part in PARTS:
            part(found.aside)
    assert not found.faults, f"{len(found.faults)} statements:\n" + "\n\n".join(found.faults)
    assert found.tables == LARGE


def run(aside):
    """What one job makes of it each: inputs, a limit, a retry."""
    for name in ("job-200", "reader", "limited", "retried"):
        made = ask(name, nonce=f"of {name}")
        assert ask(name, nonce=f"of {name}") == made
        work(made, aside=aside)
        assert made.status == ("FAILED" if name == "retried" else "SUCCESSFUL")


def run_plan(aside):
    made = ask("job-9", options=Options(dependencies=Dependencies.ALL))
    assert made.status == "WAITING"
    work(*made.plan.builds.order_by("pk"), aside=aside)
    made.refresh_from_db()
    assert made.status == "SUCCESSFUL"


def cancel_and_beat(_):
    waiting, named = ask("job-201"), ask("job-202")
    services.cancel_build(build=waiting)
    held = services.claim(worker=WorkerIdentity.current(), build_id=named.pk)
    token = held.claim_token
    assert services.beat(build_id=held.pk, token=token)
    services.cancel_build(build=held)
    assert services.look(build_id=held.pk, token=token).cancelled
    assert services.unclaim(token=token)


def delete(aside):
    with aside():
        gone = Build.objects.filter(job="job-100", status="FAILED").first()
    services.request_deletion(build=gone)
    work(ask("job-204"), aside=aside)
    assert not Build.objects.filter(pk=gone.pk).exists()


def supervise(aside):
    """Two rounds: one with a dead worker, one with what is due by itself."""
    lost = ask("job-203")
    services.claim(worker=WorkerIdentity.current(), build_id=lost.pk)
    gone = str(WorkerIdentity.current()).rpartition(":")[0] + ":1"
    Build.objects.filter(pk=lost.pk).update(worker=gone)
    supervisor = Supervisor(lambda _: None)
    supervisor.tick()
    lost.refresh_from_db()
    assert (lost.status, lost.failure_kind) == ("FAILED", "worker_lost")
    with aside():
        ScheduledRun.objects.filter(state="PLANNED", job="job-5").update(due=Now())
    supervisor._last_settling = supervisor.rebuilds._next_look = float("-inf")
    supervisor.tick()
    with aside():
        assert ScheduledRun.objects.filter(job="job-5", build__trigger="schedule").exists()
        assert Build.objects.filter(trigger="rebuild").exists()


def sync(_):
    registry.sync(registry.configuration(), check_functions=False)


def keep_up(aside):
    old = Now() - timedelta(days=400)
    with aside():
        some = list(LogMessage.objects.order_by("pk").values_list("pk", flat=True)[:100])
        LogMessage.objects.filter(pk__in=some).update(created=old)
    for _ in housekeeping.upkeep(registry.configuration().site.retention):
        pass
    assert not LogMessage.objects.filter(pk__in=some).exists()


PARTS = (run, run_plan, cancel_and_beat, delete, supervise, sync, keep_up)
