"""`concurrency` and `queue` of jobs: what is claimed, by whom, and who is woken for the next."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from builds import queue, runner, services, turns
from builds.models import Build
from builds.sessions import BuildSession
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobcontrol.core import JobControl
from jobcontrol.exceptions import LimitReached
from jobcontrol.globals import current_app
from jobs import registry
from jobs.models import Job
from jobs.redaction import Redactor
from tests.support.commands import run
from tests.support.jobs import build, use_config
from tests.support.many import copies

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "tests.integration.running.test_limits:"
CONFIG = f"""
jobs:
  - {{id: free, function: "tests.support.odd_jobs:value"}}
  - {{id: two, function: "tests.support.odd_jobs:value", concurrency: 2, retries: 1}}
  - {{id: one, function: "tests.support.odd_jobs:value", concurrency: 1}}
  - {{id: heavy, function: "tests.support.odd_jobs:value", queue: heavy, retries: 1}}
  - {{id: selfish, function: "{HERE}build_itself", concurrency: 1}}
"""
DONE = services.Outcome(status=Build.Status.SUCCESSFUL)
FAILED = services.Outcome(status=Build.Status.FAILED, failure_kind="exception")


def build_itself():
    try:
        current_app.build_job("selfish")
    except LimitReached as error:
        return str(error)


@pytest.fixture(autouse=True)
def woken(monkeypatch) -> list[str]:
    """The queues that were sent wake-ups."""
    sent: list[str] = []

    def wake(times: int = 1, queue: str = "default") -> bool:
        sent.extend([queue] * times)
        return True

    monkeypatch.setattr(queue, "wake", wake)
    return sent


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


@pytest.fixture
def serving():
    yield queue.serve
    queue.serve(["default"])


def ask(job: str, count: int = 1, **changes) -> list[Build]:
    found = Job.objects.get(pk=job)
    made = [services.request_build(job=found, trigger="python") for _ in range(count)]
    Build.objects.filter(pk__in=[one.pk for one in made]).update(**changes) if changes else None
    return made


def claim(*queues: str, **options) -> Build | None:
    options |= {"queues": queues} if queues else {}
    return services.claim(worker=WorkerIdentity.current(), **options)


def claim_all(*queues: str) -> list[str]:
    found = []
    while (made := claim(*queues)) is not None:
        found.append(made.job_id)
    return found


def end(made: Build, outcome: services.Outcome = DONE) -> None:
    limited = made.job_id if made.job.concurrency else None
    session = BuildSession(made.pk, made.claim_token, Redactor({}), limited_job=limited)
    services.finish_build(session=session, outcome=outcome)


# --- Claims ---------------------------------------------------------------------------------------


def test_no_more_builds_of_a_job_are_claimed_than_it_allows():
    ask("two", 5)
    first, second = claim(), claim()
    assert claim() is None
    end(first)
    assert claim() is not None
    assert claim() is None
    end(second)
    assert claim() is not None
    assert Build.objects.running().count() == 2


def test_a_backlog_of_a_full_job_does_not_hide_others():
    ask("two", 30, priority=9)
    ask("free", 2)
    ask("one", 2)
    assert claim_all() == ["two", "two", "free", "free", "one"]


def test_what_runs_in_place_counts_too():
    (made, other) = ask("one", 2)
    assert claim(build_id=other.pk).in_place
    assert claim() is None
    with pytest.raises(LimitReached, match="1 build of job 'one'"):
        claim(build_id=made.pk)
    made.refresh_from_db()
    assert (made.status, made.worker, made.claim_token) == ("QUEUED", "", None)


def test_the_limit_is_that_of_the_file_now():
    ask("two", 6)
    assert len(claim_all()) == 2
    use_config(CONFIG.replace("concurrency: 2", "concurrency: 4"))
    assert len(claim_all()) == 2
    use_config(CONFIG.replace("concurrency: 2, ", ""))
    assert len(claim_all()) == 2


def test_a_limit_that_was_lowered_ends_nothing():
    ask("two", 3)
    first, second = claim(), claim()
    use_config(CONFIG.replace("concurrency: 2", "concurrency: 1"))
    assert claim() is None
    end(Build.objects.select_related("job").get(pk=first.pk))
    assert claim() is None
    end(Build.objects.select_related("job").get(pk=second.pk))
    assert claim() is not None


def test_a_claim_that_was_one_too_many_is_taken_back_and_another_job_is_tried(monkeypatch):
    """As if others had been a moment faster: the first look sees a free place."""
    ask("one", 2, priority=9)
    ask("free")
    assert claim().job_id == "one"
    monkeypatch.setattr(services.limits, "startable", lambda builds: builds)
    assert claim().job_id == "free"
    assert claim() is None
    assert Build.objects.queued().get().job_id == "one"


def test_a_claim_without_a_limit_takes_one_statement_or_two():
    ask("free", 2)
    ask("heavy")
    assert claim() is not None
    with CaptureQueriesContext(connection) as seen:
        assert claim() is not None
    words = [query["sql"].split()[0] for query in seen if query["sql"][:1] in "SUIW"]
    said = ["WITH"] if connection.vendor == "postgresql" else ["UPDATE", "SELECT"]
    assert [word for word in words if word != "SAVEPOINT"] == said


def test_a_claim_finds_its_build_by_the_index():
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL tells how it asks")
    jobs = {pk: Job.objects.get(pk=pk) for pk in ("free", "two", "heavy")}
    rows = [("free", "SUCCESSFUL", 20_000), ("two", "QUEUED", 5_000), ("heavy", "QUEUED", 5_000)]
    for name, status, count in [*rows, ("free", "QUEUED", 5_000), ("two", "RUNNING", 2)]:
        job = jobs[name]
        first = Build.objects.create(job=job, status=status, queue=job.queue)
        copies(first, range(1, count), priority="n % 7")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE builds_build")
        cursor.execute("ANALYZE jobs_job")
    for wanted in (
        Build.objects.eligible().filter(queue="default"),
        services.startable(Build.objects.eligible().filter(queue="default")),
    ):
        plan = wanted.values("pk")[:1].explain()
        assert "builds_to_claim" in plan, plan
        assert "Sort" not in plan.partition("SubPlan")[0], plan
    best = Build.objects.filter(job="free", status="QUEUED").order_by("-priority", "id").first()
    assert claim().pk == best.pk


# --- Queues ---------------------------------------------------------------------------------------


def test_a_build_belongs_to_the_queue_that_its_job_had_when_it_was_asked_for(woken):
    (made,) = ask("heavy")
    assert made.queue == "heavy"
    assert woken == ["heavy"]
    use_config(CONFIG.replace("queue: heavy", "queue: other"))
    assert claim("other") is None
    running = claim("heavy")
    end(running, FAILED)
    retry = Build.objects.get(retry_of=made)
    assert retry.queue == "heavy"
    assert woken[1:] == ["heavy"]


def test_only_builds_of_the_queues_of_a_worker_are_claimed():
    ask("free")
    ask("heavy", 2, priority=9)
    assert claim_all("other") == []
    assert claim_all() == ["free"]
    assert claim_all("heavy") == ["heavy", "heavy"]


def test_queues_are_served_in_their_order_and_builds_by_priority_within():
    ask("free")
    late = ask("free", priority=5)
    ask("heavy", 2)
    assert claim("heavy", "default").job_id == "heavy"
    assert claim("default", "heavy").pk == late[0].pk
    assert claim_all("heavy", "default") == ["heavy", "free"]


def test_a_worker_claims_for_the_queues_of_its_cluster(serving):
    ask("free")
    ask("heavy")
    serving(["heavy"])
    assert runner.run_next().job_id == "heavy"
    assert runner.run_next() is None
    serving(["default"])
    assert runner.run_next().job_id == "free"


def test_a_build_in_place_may_be_of_any_queue():
    assert build("heavy").status == "SUCCESSFUL"


# --- Who is woken ---------------------------------------------------------------------------------


def test_the_end_of_a_limited_build_wakes_for_the_next(woken):
    ask("one", 2)
    running = claim()
    woken.clear()
    end(running)
    assert woken == ["default"]
    last = claim()
    woken.clear()
    end(last)
    assert woken == [], "nothing waits"


def test_the_end_of_a_build_without_a_limit_wakes_nobody(woken):
    ask("free", 2)
    running = claim()
    woken.clear()
    end(running)
    assert woken == []


def test_a_worker_wakes_for_the_next_when_it_has_run_a_limited_build(woken):
    ask("one", 2)
    woken.clear()
    runner.run_next()
    assert woken == ["default"]


def test_a_build_whose_worker_was_lost_gives_its_place_free_and_wakes(woken):
    ask("one", 2)
    running = claim()
    woken.clear()
    assert services.close_build(build=running, outcome=FAILED, lease_seconds=None)
    assert woken == ["default"]
    assert claim() is not None


def test_a_look_for_the_next_that_fails_does_not_fail_the_build(woken, caplog):
    ask("one", 2)
    running = claim()
    woken.clear()

    def fail(execute, sql, params, many, context):
        if sql.startswith('SELECT "builds_build"."queue"'):
            raise OperationalError("gone")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        end(running)
    running.refresh_from_db()
    assert running.status == "SUCCESSFUL"
    assert woken == []
    assert "nobody is woken for the next build of one (gone)" in caplog.text


def look() -> list[int]:
    woken: list[int] = []
    Build.objects.update(created=Now() - timedelta(minutes=1))
    Supervisor(woken.append).wake_for_what_waits()
    return woken


def test_the_supervisor_does_not_wake_for_builds_of_full_jobs_and_sees_those_behind(settings):
    settings.WORKERS = 3
    ask("one", 20, priority=9)
    claim()
    assert look() == []
    ask("free", 2)
    assert look() == [2]


def test_the_supervisor_wakes_for_its_own_queues_only(serving):
    ask("heavy")
    assert look() == []
    serving(["other", "heavy"])
    assert look() == [1]


def test_a_deletion_is_the_work_of_any_cluster(serving):
    made = build("heavy")
    services.request_deletion(build=made)
    for names in (["default"], ["heavy"], ["other"]):
        serving(names)
        assert look() == [1]


# --- In place -------------------------------------------------------------------------------------


def test_a_job_that_builds_itself_is_told_and_does_not_hang():
    made = build("selfish")
    assert made.status == "SUCCESSFUL"
    assert "1 build of job 'selfish'" in made.payload.retval_text
    assert Build.objects.count() == 1, "what is refused leaves no build"


def test_python_is_told_and_the_build_can_be_run_later():
    app = JobControl()
    waits = app.create_build("one")
    ask("one")
    running = claim()
    with pytest.raises(LimitReached):
        app.run_build(waits)
    with pytest.raises(LimitReached):
        app.build_job("one")
    end(running)
    assert app.run_build(waits)["success"]


def test_the_command_waits_for_its_turn_and_says_so_once(monkeypatch):
    ask("one")
    running = claim()
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            end(running)

    monkeypatch.setattr(turns, "sleep", sleep)
    result = run("build_job", "one")
    assert result.code == 0, result.err
    assert len(looks) == 3
    assert result.err.count("waits here for its turn") == 1
    assert "'concurrency'" in result.err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_command_that_is_stopped_while_it_waits_leaves_a_cancelled_build(monkeypatch, stop):
    ask("one")
    claim()

    def sleep(_seconds):
        raise stop

    monkeypatch.setattr(turns, "sleep", sleep)
    with pytest.raises(stop):
        turns.run_in_turn(JobControl().create_build("one").model, say=str)
    assert Build.objects.get(trigger="python", pk=Build.objects.latest("pk").pk).status == (
        "CANCELLED"
    )


# --- Many at once ---------------------------------------------------------------------------------


def test_many_claimers_never_pass_the_limit_and_leave_no_place_free():
    ask("two", 40)
    use_config(CONFIG.replace("concurrency: 2", "concurrency: 3"))
    most, ran, failures = [0], [], []
    barrier, lock = threading.Barrier(6), threading.Lock()

    def work():
        try:
            registry.configuration()
            barrier.wait()
            idle = 0
            while idle < 50:
                made = claim()
                if made is None:
                    idle += 1
                    continue
                idle = 0
                with lock:
                    most[0] = max(most[0], Build.objects.running().count())
                    ran.append(made.pk)
                end(made)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert len(ran) == len(set(ran)) == 40
    assert 1 <= most[0] <= 3
