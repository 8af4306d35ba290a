"""Which builds the retention removes, which it never does, and how they go."""

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builds import deletion, retention, runner, services
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload, BuildProgress, LogMessage
from builds.services import removals
from builds.supervisor import Supervisor
from jobcontrol.core import JobControl
from jobcontrol.exceptions import BuildStateError, JobControlException
from jobs.models import Job
from jobs.retention import BuildLimits
from tests.support import odd_jobs
from tests.support.commands import run, run_json
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

VALUE = '"tests.support.odd_jobs:value"'
JOBS = f"""
jobs:
  - {{id: plain, function: {VALUE}}}
  - {{id: tidy, function: {VALUE}, cleanup: "tests.support.odd_jobs:cleanup"}}
  - {{id: own, function: {VALUE}, retention: {{builds: {{count: 1, age: }}}}}}
  - {{id: user, function: {VALUE}, args: [!retval plain]}}
retention:
  builds: {{count: 3, age: 90d}}
"""


@pytest.fixture(autouse=True)
def jobs(transactional_db):
    use_config(JOBS)
    odd_jobs.cleaned.clear()


def add(job="plain", status="FAILED", days=1.0, **fields):
    """A build that ended so many days ago."""
    ended = timezone.now() - timedelta(days=days)
    config = Job.objects.get(pk=job).config
    times = {"created": ended, "start_time": ended, "end_time": ended}
    made = Build.objects.create(job_id=job, status=status, **{**times, **fields})
    BuildPayload.objects.create(build=made, config=config)
    return made


def numbers():
    return list(Build.objects.order_by("pk").values_list("pk", flat=True))


# --- What is never removed ------------------------------------------------------------------------

builds_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(
                ["SUCCESSFUL", "SUCCESSFUL", "FAILED", "SKIPPED", "CANCELLED", "RUNNING", "QUEUED"]
            ),
            "days": st.integers(0, 9),
            "ran": st.integers(0, 4),
            "keep": st.sampled_from([False, False, False, True]),
            "deleting": st.sampled_from([False, False, False, True]),
            # Of the builds before it: what it uses, is a retry of, and whether the file pins it.
            "uses": st.none() | st.integers(0, 20),
            "retry_of": st.none() | st.integers(0, 20),
            "pinned": st.sampled_from([False] * 6 + [True]),
        }
    ),
    max_size=14,
)
FINISHED = {"SUCCESSFUL", "FAILED", "SKIPPED", "CANCELLED"}


def oracle(rows, count, age):
    """The indexes of the builds that may go, by the rules as people read them."""
    finished = [at for at, row in enumerate(rows) if row["status"] in FINISHED]
    counted = [at for at in finished if not rows[at]["deleting"]]
    newest = set(counted[-count:]) if count else set(finished)
    successes = [at for at in counted if rows[at]["status"] == "SUCCESSFUL"]
    gone = set()
    for at in finished:
        row = rows[at]
        is_past = (count and at not in newest and at < min(newest, default=0)) or (
            age and row["days"] >= age
        )
        is_used = any(
            other["status"] not in FINISHED and at in (other["uses"], other["retry_of"])
            for other in rows
        )
        stays = row["keep"] or row["deleting"] or row["pinned"] or at in successes[-1:]
        if is_past and not (is_used or stays):
            gone.add(at)
    return gone


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=builds_strategy,
    count=st.none() | st.integers(1, 5),
    age=st.none() | st.integers(1, 8),
    page=st.integers(1, 6),
)
def test_what_goes_is_what_the_rules_say(rows, count, age, page):
    Deletion.objects.all().delete()
    Build.objects.all().delete()
    # They are asked for one after another; how long one ran is another matter.
    rows.sort(key=lambda row: -row["days"])
    pins, made = [], []
    for at, row in enumerate(rows):
        for link in ("uses", "retry_of"):
            row[link] = None if row[link] is None or row[link] >= at else row[link]
        asked = timezone.now() - timedelta(days=row["days"] + 0.5)
        row["days"] = max(row["days"] - row["ran"], 0)
        one = add(status=row["status"], days=row["days"] + 0.5, created=asked, keep=row["keep"],
                  deleting=row["deleting"],
                  retry_of=None if row["retry_of"] is None else made[row["retry_of"]])  # fmt: skip
        made.append(one)
        if row["uses"] is not None:
            used = made[row["uses"]]
            BuildDependency.objects.create(
                build=one, job_id="plain", dep_build=used, dep_build_number=used.pk
            )
        if row["pinned"]:
            pins.append(one.pk)
    # One pin for each job that depends on it, as in a file.
    with_pins = JOBS + "".join(
        f"  - {{id: pin{pin}, function: {VALUE}, args: [!retval plain], "
        f"pinned_builds: {{plain: {pin}}}}}\n"
        for pin in pins
    )
    head, _, tail = with_pins.partition("retention:\n  builds: {count: 3, age: 90d}\n")
    use_config(head + tail)
    limits = BuildLimits(count, None if age is None else age * 86_400.0)
    told = []
    for found in retention.prunable_pages("plain", limits, page=page):
        told += found
    for found in retention.prunable_pages("plain", limits, page=page):
        services.prune_builds(job_id="plain", builds=found)
    while deletion.remove_waiting():
        pass
    left = set(numbers())
    gone = {at for at, one in enumerate(made) if one.pk not in left}
    assert gone == oracle(rows, count, age)
    assert told == [made[at].pk for at in sorted(gone)], "a dry run tells the same"
    assert not Deletion.objects.exists(), "nothing is left to tell of them"


def test_a_request_that_came_between_saves_its_input():
    """What is asked for between the look and the removal is seen."""
    old = add(status="SUCCESSFUL", days=200)
    add(status="SUCCESSFUL")
    (page,) = retention.prunable_pages("plain", BuildLimits(age=86_400.0 * 90))
    assert page == [old.pk]
    user = Job.objects.get(pk="user")
    services.request_build(job=user, trigger="cli", dependency_builds={"plain": old.pk})
    assert services.prune_builds(job_id="plain", builds=page) == (0, 0)
    assert not Deletion.objects.exists()


def test_a_kept_build_can_be_let_go_and_one_being_deleted_can_not_be_kept():
    made = add()
    assert services.keep_build(build=made).keep
    assert services.prunable_builds(job_id="plain", builds=[made.pk]) == []
    services.keep_build(build=made, keep=False)
    assert services.prunable_builds(job_id="plain", builds=[made.pk]) == [made.pk]
    services.prune_builds(job_id="plain", builds=[made.pk])
    with pytest.raises(BuildStateError, match="is being deleted"):
        services.keep_build(build=made)


# --- How builds go --------------------------------------------------------------------------------


def test_thousands_of_builds_go_in_chunks_with_all_their_rows(monkeypatch):
    monkeypatch.setattr(removals, "ROWS", 700)
    ended = timezone.now() - timedelta(days=100)
    made = Build.objects.bulk_create(
        Build(job_id="plain", status="FAILED", created=ended, end_time=ended) for _ in range(2_500)
    )
    BuildPayload.objects.bulk_create(BuildPayload(build=one, config={}) for one in made)
    LogMessage.objects.bulk_create(
        LogMessage(build=one, created=ended, level=10, logger="x", message="m")
        for one in made[:1_500]
    )
    BuildProgress.objects.bulk_create(
        BuildProgress(build=one, group_name="[]", group_digest="d", current=1, total=1,
                      position=0, updated=ended)
        for one in made[:50]
    )  # fmt: skip
    newest = add(job="user", status="SUCCESSFUL")
    BuildDependency.objects.create(
        build=newest, job_id="plain", dep_build=made[0], dep_build_number=made[0].pk
    )
    longest = Counter()

    def count_rows(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("DELETE"):
            table = sql.split('"')[1]
            longest[table] = max(longest[table], context["cursor"].rowcount)
        return result

    with connection.execute_wrapper(count_rows):
        found = run_json("prune_builds")
    assert found == {"matching": 2_500, "deleted": 2_500, "to_clean_up": 0,
                     "jobs": {"plain": 2_500}}  # fmt: skip
    assert numbers() == [newest.pk]
    for model in (BuildPayload, LogMessage, BuildProgress, Deletion):
        assert not model.objects.exclude(pk=newest.pk).exists(), model
    link = newest.inputs.get()
    assert (link.dep_build_id, link.dep_build_number) == (None, made[0].pk)
    assert max(longest.values(), default=0) <= 700, longest


def test_builds_with_a_cleanup_function_wait_for_a_worker():
    old = [add("tidy", days=100) for _ in range(3)]
    plain = add(days=100)
    dry = run_json("prune_builds", "--dry-run")
    assert dry == {"matching": 4, "deleted": 0, "to_clean_up": 3, "jobs": {"plain": 1, "tidy": 3}}
    assert not Deletion.objects.exists()
    result = run("prune_builds")
    assert "1 builds deleted." in result.out
    assert "3 wait for a worker that cleans up" in result.out
    assert not Build.objects.filter(pk=plain.pk).exists()
    assert odd_jobs.cleaned == []
    while deletion.run_next():
        pass
    assert sorted(number for number, *_ in odd_jobs.cleaned) == [one.pk for one in old]
    assert not Build.objects.exists()
    assert set(Deletion.objects.values_list("state", "outcome", "pruned")) == {
        ("DONE", "done", True)
    }


def test_a_cleanup_that_fails_every_night_leaves_one_record():
    bad = '"tests.support.odd_jobs:failing_cleanup"'
    use_config(JOBS.replace('"tests.support.odd_jobs:cleanup"', bad))
    add("tidy", days=100)
    for _ in range(3):
        run_json("prune_builds")
        while deletion.run_next():
            pass
    assert Build.objects.filter(deleting=False).count() == 1
    assert Deletion.objects.get().state == "FAILED"


def test_a_job_has_limits_of_its_own():
    old = [add("own", days=days) for days in (500, 400, 300)]
    plain = [add("plain", days=days) for days in (5, 4, 3, 2, 1)]
    assert run_json("prune_builds", "--job", "own")["jobs"] == {"own": 2}
    assert numbers() == [old[2].pk, *[one.pk for one in plain]]
    assert run_json("prune_builds")["jobs"] == {"plain": 2}
    assert numbers() == [old[2].pk, *[one.pk for one in plain[2:]]]
    assert run("prune_builds", "--job", "nope").code == 2


def test_without_limits_all_builds_stay():
    use_config(JOBS.partition("retention:\n")[0])
    add(days=5_000)
    add("own")
    assert run_json("prune_builds")["matching"] == 0
    assert "0 builds would be deleted." in run("prune_builds", "--dry-run").out


def test_a_worker_that_died_before_a_plain_removal_ended_leaves_it_to_the_next():
    """Some of its log may be gone: nothing would bring that back."""
    made = add(days=100)
    services.request_deletion(build=made)
    claimed = services.claim_deletion(worker=Supervisor(print)._identity)
    services.remove_log_rows(builds=[made.pk])
    assert services.close_lost_deletion(deletion=claimed, lease_seconds=None)
    assert Deletion.objects.get().state == "WAITING"
    assert deletion.run_next() is not None
    assert not Build.objects.exists()
    assert Deletion.objects.get().state == "DONE"


def test_log_rows_are_removed_only_of_builds_that_go():
    made = build("plain")
    assert services.remove_log_rows(builds=[made.pk]) == 0
    assert made.log_messages.exists()


# --- The marks, told ------------------------------------------------------------------------------


def test_the_command_keeps_and_lists_what_is_kept():
    one, two = add(), add()
    assert run_json("keep_build", one.pk, two.pk) == [
        {"id": one.pk, "job_id": "plain", "keep": True},
        {"id": two.pk, "job_id": "plain", "keep": True},
    ]
    assert "may go by the retention" in run("keep_build", two.pk, "--off").out
    assert [row["id"] for row in run_json("list_builds", "--kept")] == [one.pk]
    assert [row["id"] for row in run_json("list_builds", "--no-kept")] == [two.pk]
    assert "(kept)" in run("list_builds").out
    assert run("keep_build", 10**6).code == 2
    Build.objects.update(deleting=True)
    refused = run("keep_build", two.pk)
    assert (refused.code, "is being deleted" in refused.err) == (2, True)


# --- Logs -----------------------------------------------------------------------------------------


def log_of(made, level, days):
    created = timezone.now() - timedelta(days=days)
    return LogMessage.objects.create(
        build=made, created=created, level=level, logger="x", message=f"{level} {days}"
    )


def test_logs_go_by_the_files_own_ages():
    """A level that is kept longer than the next one up is kept: each has its own age."""
    use_config(JOBS + "  logs: {DEBUG: 60d, INFO: 5d, all: 200d}\n")
    made = build("plain")
    LogMessage.objects.all().delete()
    for level, days in [(10, 59), (10, 61), (20, 4), (20, 6), (25, 89), (25, 91), (60, 199),
                        (60, 201), (0, 61)]:  # fmt: skip
        log_of(made, level, days)
    assert run_json("prune_logs", "--dry-run")["matching"] == 5
    assert JobControl().prune_logs() == 5
    assert messages(made) == ["10 59", "20 4", "25 89", "60 199"]


def test_past_its_cap_a_log_has_warnings_only_and_says_so():
    use_config(
        "jobs: [{id: loud, function: 'tests.integration.running.test_retention:loud'}]\n"
        "retention: {log_rows: 50}\n"
    )
    made = build("loud")
    said = messages(made)
    assert [text for text in said if text.startswith("info")] == [f"info {n}" for n in range(49)]
    assert [text for text in said if text.startswith("warning")] == ["warning 250", "warning 500"]
    limit = "the log has 50 rows (log_rows of the file's retention)."
    assert said[50] == f"From here on, records below WARNING are left out: {limit}"
    assert said[-2:] == [
        "Build finished with success.",
        f"Records below WARNING that were left out: 2,951; {limit}",
    ]
    assert len(said) == 1 + 49 + 1 + 2 + 1 + 1


def loud():
    logger = logging.getLogger("loud")
    for number in range(3_000):
        logger.info("info %s", number)
        if number in (250, 500):
            logger.warning("warning %s", number)


def test_a_job_may_lift_the_cap():
    use_config(
        "jobs: [{id: loud, function: 'tests.integration.running.test_retention:loud',"
        " retention: {log_rows: 0}}]\nretention: {log_rows: 50}\n"
    )
    made = services.request_build(job=Job.objects.get(pk="loud"), trigger="cli")
    runner.run_next()
    said = messages(made)
    assert len([text for text in said if text.startswith("info")]) == 3_000
    assert not any("left out" in text for text in said)


def test_a_change_of_the_retention_outdates_nothing():
    build("plain")
    use_config(JOBS.replace("{id: plain,", "{id: plain, retention: {builds: {count: 9}},"))
    assert run_json("show_job", "plain")["status"] == "success"


@pytest.mark.timeout(120)
def test_of_a_request_and_the_removal_of_its_input_one_sees_the_other():
    """Two threads at the same moment: the input is there for the build, or it was refused."""
    outcomes = Counter()
    for _ in range(100):
        old = add(status="SUCCESSFUL", days=200)
        add(status="SUCCESSFUL")
        start = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(_ask_for, old.pk, start)
            pruned = pool.submit(_prune, old.pk, start)
        if asked.result():
            assert pruned.result() == 0
            assert Build.objects.filter(pk=old.pk, deleting=False).exists()
        outcomes[asked.result()] += 1
        while deletion.remove_waiting():
            pass
        Build.objects.filter(job_id="user").update(status="FAILED")
    assert sum(outcomes.values()) == 100


def _ask_for(number, start):
    try:
        start.wait()
        user = Job.objects.get(pk="user")
        services.request_build(job=user, trigger="cli", dependency_builds={"plain": number})
    except JobControlException:
        return False
    finally:
        connection.close()
    return True


def _prune(number, start):
    try:
        start.wait()
        return sum(services.prune_builds(job_id="plain", builds=[number]))
    finally:
        connection.close()
