"""build_job with what a job needs and what uses it; show, list, cancel and resume plans."""

import os
import signal
import threading
import time

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection

from builds import plan_running, queue, runner, services
from builds.models import Build
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from builds.recorder import recorder
from builds.supervisor import Supervisor
from builds.workers import WorkerIdentity
from jobcontrol_site import following
from jobs.models import Job
from tests.support.commands import run, run_json
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

VALUE = "tests.support.odd_jobs:value"
#   seeds -> crawl -> index -> site
#      \--> stats ------------/        stats -> alone
CONFIG = f"""
jobs:
  - {{id: seeds, function: "{VALUE}", args: [1]}}
  - {{id: crawl, function: "{VALUE}", args: [!retval seeds]}}
  - {{id: index, function: "{VALUE}", args: [!retval crawl]}}
  - {{id: stats, function: "{VALUE}", args: [!retval seeds]}}
  - {{id: site, function: "{VALUE}", args: [!retval index], dependencies: [stats]}}
  - {{id: alone, function: "{VALUE}", args: [!retval stats]}}
"""
FAILING_CRAWL = CONFIG.replace(
    f'id: crawl, function: "{VALUE}"', 'id: crawl, function: "builtins:chr"'
).replace("args: [!retval seeds]", "args: [!retval seeds], kwargs: {wrong: 1}", 1)


@pytest.fixture(autouse=True)
def config(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(plan_running, "POLL_SECONDS", 0.02)
    use_config(CONFIG)


def everything():
    """Build every job once, each after what it uses."""
    for name in ("seeds", "crawl", "index", "stats", "site", "alone"):
        assert build(name).status == "SUCCESSFUL"


def statuses(plan=None):
    builds = Build.objects.order_by("pk") if plan is None else Build.objects.filter(plan=plan)
    return {one.job_id: one.status for one in builds.order_by("pk")}


def preview(*arguments):
    before = Build.objects.count(), Plan.objects.count()
    found = run_json("build_job", *arguments, "--plan")
    assert (Build.objects.count(), Plan.objects.count()) == before, "a preview starts nothing"
    return found


def jobs_of(rows):
    return [row["job_id"] for row in rows]


# --- What would be built --------------------------------------------------------------------------


def test_a_preview_says_what_is_built_used_and_blocked_and_why():
    seeds = build("seeds")
    found = preview("index", "--missing-dependencies")
    assert found == {
        "builds": [
            {
                "job_id": "crawl",
                "reason": "no successful build",
                "protected": False,
                "inputs": {"seeds": seeds.pk},
            },
            {
                "job_id": "index",
                "reason": "asked for",
                "protected": False,
                "inputs": {"crawl": None},
            },
        ],
        "reused": [{"job_id": "seeds", "build_id": seeds.pk, "reason": "latest success"}],
        "blocked": [],
    }
    assert preview("index") == {
        "builds": [],
        "reused": [],
        "blocked": [{"job_id": "index", "reason": "no successful build of crawl"}],
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["site"]),
        (["--missing-dependencies"], ["site"]),
        (["--with-dependencies"], ["crawl", "index", "stats", "site"]),
        (["--all-dependencies"], ["seeds", "crawl", "index", "stats", "site"]),
        (["--use", "stats=now"], ["stats", "site"]),
        (["--use", "stats=now", "--with-dependencies"], ["crawl", "index", "stats", "site"]),
        (["--use", "stats=latest", "--with-dependencies"], ["crawl", "index", "site"]),
    ],
)
def test_each_choice_of_dependencies(arguments, expected):
    everything()
    build("seeds")  # all but itself is outdated now
    assert jobs_of(preview("site", *arguments)["builds"]) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rebuild-reverse-dependencies"], ["seeds", "crawl", "index", "stats", "site", "alone"]),
        (["--rebuild", "index"], ["seeds", "crawl", "index"]),
        (
            ["--rebuild", "index", "--rebuild", "alone"],
            ["seeds", "crawl", "index", "stats", "alone"],
        ),
        (
            ["--rebuild", "alone", "--rebuild-reverse-dependencies"],
            ["seeds", "crawl", "index", "stats", "site", "alone"],
        ),
    ],
)
def test_each_choice_of_what_uses_it(arguments, expected):
    everything()
    assert jobs_of(preview("seeds", *arguments)["builds"]) == expected


def test_a_build_of_a_dependency_is_chosen_by_its_number():
    everything()
    old = Build.objects.get(job_id="index").pk
    newer = build("index").pk
    assert preview("site")["builds"][0]["inputs"]["index"] == newer
    found = preview("site", "--use", f"index={old}", "--all-dependencies")
    assert jobs_of(found["builds"]) == ["seeds", "stats", "site"]
    assert found["builds"][-1]["inputs"] == {"index": old, "stats": None}
    assert found["reused"] == [{"job_id": "index", "build_id": old, "reason": "chosen"}]
    row = run_json("build_job", "site", "--use", f"index=#{old}")
    assert row["dependency_builds"]["index"] == old


def test_latest_beats_what_the_file_pins():
    everything()
    old, new = Build.objects.get(job_id="index").pk, build("index").pk
    use_config(
        CONFIG.replace(
            "dependencies: [stats]", f"dependencies: [stats], pinned_builds: {{index: {old}}}"
        )
    )
    assert run_json("build_job", "site")["dependency_builds"]["index"] == old
    row = run_json("build_job", "site", "--use", "index=latest")
    assert row["dependency_builds"]["index"] == new


def test_people_get_a_preview_as_tables():
    build("seeds")
    use_config(CONFIG.replace("id: crawl,", "id: crawl, protect: true,"))
    text = run("build_job", "index", "--with-dependencies", "--plan").out
    assert "To be built, in this order" in text
    assert "crawl (new)" in text
    assert "protected: --arm" in text
    assert "latest success" in text
    assert "Can't be built" not in text
    blocked = run("build_job", "site", "--plan").out
    assert "Can't be built" in blocked
    assert "no successful build of stats, index" in blocked


# --- Built here -----------------------------------------------------------------------------------


def test_a_plan_is_run_here_in_order_and_answered_with_the_job_s_build():
    row = run_json("build_job", "site", "--with-dependencies")
    assert (row["job_id"], row["status"], row["retval"]) == ("site", "SUCCESSFUL", "1")
    plan = row["plan"]
    assert plan["state"] == "success"
    assert [(one["job_id"], one["status"]) for one in plan["builds"]] == [
        (name, "SUCCESSFUL") for name in ("seeds", "crawl", "index", "stats", "site")
    ]
    assert plan["builds"][0]["reason"] == "no successful build"
    assert plan["builds"][-1]["id"] == row["id"]
    assert plan["builds"][-1]["inputs"] == row["dependency_builds"]
    made = Build.objects.get(pk=row["id"])
    assert (made.trigger, made.in_place, made.plan.runner) == (
        "cli",
        True,
        str(WorkerIdentity.current()),
    )
    ended = list(Build.objects.order_by("end_time").values_list("pk", flat=True))
    assert ended == sorted(ended), "one after the other, in order"
    assert run_json("get_build", row["id"])["plan"] == plan["id"]
    assert run_json("get_build", row["id"])["plan_reason"] == "asked for"


def test_where_one_build_is_enough_there_is_no_plan():
    everything()
    row = run_json("build_job", "site", "--with-dependencies")
    assert (row["status"], row["plan"]) == ("SUCCESSFUL", None)
    assert run_json("build_job", "site")["plan"] is None
    assert not Plan.objects.exists()


def test_a_failing_branch_ends_what_hangs_on_it_and_the_others_go_on():
    use_config(FAILING_CRAWL)
    result = run("build_job", "seeds", "--rebuild-reverse-dependencies", "--format", "json")
    assert result.code == 1
    assert result.json["status"] == "SUCCESSFUL", "the job itself was built"
    assert result.json["plan"]["state"] == "failed"
    assert statuses() == {
        "seeds": "SUCCESSFUL",
        "crawl": "FAILED",
        "index": "FAILED",
        "stats": "SUCCESSFUL",
        "site": "FAILED",
        "alone": "SUCCESSFUL",
    }
    kinds = dict(Build.objects.filter(status="FAILED").values_list("job_id", "failure_kind"))
    upstream = "upstream_failed"
    assert kinds == {"crawl": "exception", "index": upstream, "site": upstream}
    text = run("build_job", "seeds", "--rebuild-reverse-dependencies").out
    assert "failed" in text
    assert "uses seeds" in text


def test_a_build_of_a_plan_that_is_cancelled_meanwhile_is_left_out(monkeypatch):
    real = runner.run_here

    def cancel_stats_first(made, **options):
        if made.job_id == "crawl":
            other = Build.objects.get(job_id="stats")
            recorder().call(lambda: services.cancel_build(build=other))
        return real(made, **options)

    monkeypatch.setattr(plan_running, "run_here", cancel_stats_first)
    result = run("build_job", "site", "--with-dependencies", "--format", "json")
    assert result.code == 1
    assert statuses() == {
        "seeds": "SUCCESSFUL",
        "crawl": "SUCCESSFUL",
        "index": "SUCCESSFUL",
        "stats": "CANCELLED",
        "site": "CANCELLED",
    }


def test_what_the_end_of_a_build_should_have_let_go_on_goes_on(monkeypatch):
    monkeypatch.setattr("builds.services.promotions.settle_after", lambda ended: None)
    assert run_json("build_job", "index", "--with-dependencies")["status"] == "SUCCESSFUL"


def test_where_a_limit_is_reached_other_branches_come_first(monkeypatch):
    use_config(CONFIG.replace("id: crawl,", "id: crawl, concurrency: 1,"))
    busy = Build.objects.create(
        job_id="crawl", status="RUNNING", worker=str(WorkerIdentity.current())
    )
    real = runner.run_here
    order = []

    def free_it_after_stats(made, **options):
        ended = real(made, **options)
        order.append(made.job_id)
        if made.job_id == "stats":
            Build.objects.filter(pk=busy.pk).update(status="CANCELLED")
        return ended

    monkeypatch.setattr(plan_running, "run_here", free_it_after_stats)
    assert run("build_job", "site", "--with-dependencies").code == 0
    assert order == ["seeds", "stats", "crawl", "index", "site"]


def test_what_a_plan_waits_for_here_is_said_once(monkeypatch):
    use_config(CONFIG.replace("id: crawl,", "id: crawl, concurrency: 1,"))
    busy = Build.objects.create(
        job_id="crawl", status="RUNNING", worker=str(WorkerIdentity.current())
    )
    looks = []

    def look(made, **options):
        looks.append(made.job_id)
        if looks.count("crawl") == 3:
            Build.objects.filter(pk=busy.pk).update(status="CANCELLED")
        return runner.run_here(made, **options)

    monkeypatch.setattr(plan_running, "run_here", look)
    result = run("build_job", "index", "--with-dependencies", "--format", "json")
    assert (result.code, result.json["status"]) == (0, "SUCCESSFUL")
    assert result.err.count("waits here for its turn") == 1
    assert "1 build of job 'crawl' may run at the same time" in result.err


def test_an_error_in_between_leaves_nothing_behind(monkeypatch):
    def fail(made, **options):
        if made.job_id == "crawl":
            raise RuntimeError("no more")
        return runner.run_here(made, **options)

    monkeypatch.setattr(plan_running, "run_here", fail)
    with pytest.raises(RuntimeError, match="no more"):
        run("build_job", "site", "--with-dependencies")
    assert statuses() == {
        "seeds": "SUCCESSFUL",
        **dict.fromkeys(("crawl", "index", "stats", "site"), "CANCELLED"),
    }
    (log, *_) = Build.objects.get(job_id="stats").log_messages.all()
    assert log.message == ("Build cancelled before it began: the process that ran it was stopped.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_what_runs_and_the_rest(number):
    slow = CONFIG.replace(
        f'id: crawl, function: "{VALUE}", args: [!retval seeds]',
        'id: crawl, function: "time:sleep", args: [600], dependencies: [seeds]',
    )
    use_config(slow)
    before = signal.getsignal(number)
    over = threading.Event()

    def send():
        try:
            while not over.is_set():
                if Build.objects.running().filter(job_id="crawl").exists():
                    os.kill(os.getpid(), number)
                    return
                time.sleep(0.02)
        finally:
            connection.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        result = run("build_job", "site", "--with-dependencies", "--format", "json")
    finally:
        over.set()
        thread.join()
    assert result.code == 1
    assert result.json["plan"]["state"] == "cancelled"
    assert statuses() == {
        "seeds": "SUCCESSFUL",
        **dict.fromkeys(("crawl", "index", "stats", "site"), "CANCELLED"),
    }
    assert signal.getsignal(number) == before


def test_progress_of_the_plan_is_drawn_on_a_terminal(monkeypatch):
    drawn = []
    monkeypatch.setattr(following.LiveProgress, "show", lambda self, tree: drawn.append(tree))
    monkeypatch.setattr(following.sys.stderr, "isatty", lambda: True, raising=False)
    use_config(
        CONFIG.replace(
            f'id: crawl, function: "{VALUE}", args: [!retval seeds]',
            'id: crawl, function: "jobcontrol.utils.testing:testing_job", dependencies: [seeds], '
            "kwargs: {progress_steps: [[[a], 20]], step_duration: 20}",
        )
    )
    assert run("build_job", "index", "--with-dependencies").code == 0
    lines = {tree.status_line for tree in drawn}
    assert "1 of 3 builds" in lines
    names = {child.name for tree in drawn for child in tree.children}
    assert f"#{Build.objects.get(job_id='crawl').pk} crawl" in names


# --- Handed to workers ----------------------------------------------------------------------------


def in_a_worker(monkeypatch):
    """Have a thread do what woken workers do."""
    threads = []

    def work():
        try:
            while runner.run_next():
                pass
        finally:
            connection.close()

    def wake(**_):
        threads.append(threading.Thread(target=work))
        threads[-1].start()

    monkeypatch.setattr(queue, "wake", wake)
    return threads


def test_a_plan_is_queued_as_a_whole():
    row = run_json("build_job", "site", "--with-dependencies", "--queue")
    assert row["status"] == "WAITING"
    assert row["plan"]["state"] == "waiting"
    assert statuses() == {
        "seeds": "QUEUED",
        **dict.fromkeys(("crawl", "index", "stats", "site"), "WAITING"),
    }
    assert (
        f"Plan {row['plan']['id'] + 1} is queued."
        in run("build_job", "site", "--with-dependencies", "--queue").out
    )


def test_waiting_is_for_the_whole_plan(monkeypatch):
    threads = in_a_worker(monkeypatch)
    row = run_json("build_job", "seeds", "--rebuild-reverse-dependencies", "--queue", "--wait")
    assert row["plan"]["state"] == "success"
    assert set(statuses().values()) == {"SUCCESSFUL"}
    for thread in threads:
        thread.join()


def test_waiting_for_a_plan_goes_on_with_a_retry(monkeypatch, tmp_path):
    mark = tmp_path / "tried"
    use_config(
        f"""
        jobs:
          - id: seeds
            function: tests.integration.commands.test_plans:fail_once
            args: ["{mark}"]
            retries: 1
          - {{id: crawl, function: "{VALUE}", args: [!retval seeds]}}
        """
    )
    threads = in_a_worker(monkeypatch)
    row = run_json("build_job", "crawl", "--with-dependencies", "--queue", "--wait")
    assert (row["status"], row["retval"]) == ("SUCCESSFUL", "'at last'")
    assert [(one["job_id"], one["attempt"]) for one in row["plan"]["builds"]] == [
        ("crawl", 1),
        ("seeds", 2),
    ]
    for thread in threads:
        thread.join()


def test_waiting_for_one_build_goes_on_with_its_retry(monkeypatch, tmp_path):
    use_config(
        f"""
        jobs:
          - id: seeds
            function: tests.integration.commands.test_plans:fail_once
            args: ["{tmp_path / "tried"}"]
            retries: 1
        """
    )
    threads = in_a_worker(monkeypatch)
    row = run_json("build_job", "seeds", "--queue", "--wait")
    assert (row["status"], row["attempt"], row["retval"]) == ("SUCCESSFUL", 2, "'at last'")
    assert row["retry_of"] is not None
    for thread in threads:
        thread.join()


def fail_once(mark):
    """Fails, and the next time does not."""
    if not os.path.exists(mark):
        open(mark, "w").close()
        raise ValueError("not yet")
    return "at last"


def test_a_plan_that_fails_is_exit_code_1_also_when_the_job_itself_was_built(monkeypatch):
    use_config(FAILING_CRAWL)
    threads = in_a_worker(monkeypatch)
    result = run(
        "build_job", "seeds", "--rebuild", "crawl", "--queue", "--wait", "--format", "json"
    )
    assert (result.code, result.json["status"]) == (1, "SUCCESSFUL")
    for thread in threads:
        thread.join()


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["site", "--use", "index"], "'index': write DEP=12, DEP=latest or DEP=now"),
        (["site", "--use", "index="], "write DEP=12"),
        (["site", "--use", "=12"], "write DEP=12"),
        (["site", "--use", "index=0"], "write DEP=12"),
        (["site", "--use", f"index={10**30}"], "write DEP=12"),
        (["site", "--use", "index=newest"], "write DEP=12"),
        (["site", "--use", "seeds=now"], "job 'site' does not depend on 'seeds'."),
        (["site", "--use", "nope=12"], "job 'site' does not depend on 'nope'."),
        (["site", "--use", "a\0b=latest"], "does not depend on 'a\\x00b'."),
        (["site", "--use", "index=latest"], "no successful build of 'index'"),
        (["site", "--use", "index=999"], "build #999 is not a successful build of 'index'"),
        (["site", "--use", "index=1", "--use", "index=now"], "--use names 'index' more than once."),
        (["seeds", "--rebuild", "nope"], "a new build of 'seeds' is not used by 'nope'"),
        (["crawl", "--rebuild", "seeds"], "a new build of 'crawl' is not used by 'seeds'"),
        (["site", "--with-dependencies", "--all-dependencies"], "not allowed with argument"),
        (["nope", "--plan"], "there is no job 'nope'"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--queue"], ["--plan"]])
def test_a_wrong_request_is_exit_code_2_one_line_and_no_build(arguments, complaint, more):
    result = run("build_job", *arguments, *more, "--format", "json")
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err
    assert result.err.count("\n") == 1
    assert not Build.objects.exists()
    assert not Plan.objects.exists()


def test_to_wait_for_what_runs_here_makes_no_sense():
    result = run("build_job", "site", "--with-dependencies", "--wait")
    assert result.code == 2
    assert "--wait goes with --queue" in result.err
    assert not Build.objects.exists()


@pytest.mark.parametrize("more", [[], ["--queue"]])
def test_a_job_that_can_t_be_built_is_refused_with_the_reason(more):
    result = run("build_job", "site", "--use", "stats=now", *more)
    assert result.code == 2
    assert "job 'site' can't be built: " in result.err
    assert "'site': no successful build of index" in result.err
    assert not Build.objects.exists()


@pytest.fixture
def guarded():
    use_config(
        CONFIG.replace("id: crawl,", "id: crawl, protect: true,").replace(
            "id: site,", "id: site, protect: true,"
        )
    )


@pytest.mark.parametrize("more", [[], ["--queue"]])
def test_all_protected_jobs_of_a_plan_are_named_and_armed(guarded, more):
    result = run("build_job", "site", "--with-dependencies", *more)
    assert result.code == 2
    assert "jobs 'crawl', 'site' are protected" in result.err
    assert "--arm" in result.err
    result = run("build_job", "index", "--with-dependencies", *more)
    assert "job 'crawl' is protected" in result.err
    assert not Build.objects.exists()
    assert run("build_job", "site", "--with-dependencies", "--arm", *more).code == 0
    armed = Build.objects.filter(armed=True).values_list("job_id", flat=True)
    assert set(armed) == {"crawl", "site"}
    if not more:
        assert set(statuses().values()) == {"SUCCESSFUL"}


@pytest.mark.parametrize("more", [[], ["--queue"]])
def test_who_arms_a_plan_needs_the_permission_and_stands_in_the_history_of_each_job(guarded, more):
    for name in ("operator", "manager"):
        User.objects.create_user(name).groups.add(Group.objects.get(name=name))
    arguments = ["index", "--with-dependencies", "--arm", *more]
    result = run("build_job", *arguments, "--user", "operator")
    assert result.code == 2
    assert "'operator' may not do that: builds.run_protected_build is needed." in result.err
    assert not Build.objects.exists()
    assert not LogEntry.objects.exists()
    row = run_json("build_job", *arguments, "--user", "manager")
    crawl = Build.objects.get(job_id="crawl")
    assert {one.requested_by.username for one in Build.objects.all()} == {"manager"}
    plan = row["plan"]["id"]
    assert dict(LogEntry.objects.values_list("object_id", "change_message")) == {
        "index": f"Asked for build #{row['id']} with plan {plan} by command line.",
        "crawl": f"Armed it for build #{crawl.pk} of plan {plan} by command line.",
    }


# --- Plans afterwards -----------------------------------------------------------------------------


def make_plan(job="site", **options):
    made = services.request_build(
        job=Job.objects.get(pk=job),
        trigger="cli",
        options=Options(Dependencies.OUTDATED, **options),
    )
    return made.plan


def work_off():
    while runner.run_next():
        pass


def test_a_plan_is_shown_and_listed():
    use_config(FAILING_CRAWL)
    plan = make_plan()
    assert run_json("show_plan", plan.pk)["state"] == "waiting"
    work_off()
    found = run_json("show_plan", plan.pk)
    assert set(found) == {
        "id",
        "job_id",
        "state",
        "requested_by",
        "created",
        "resumes",
        "resumed_by",
        "builds",
    }
    assert (found["job_id"], found["state"], found["requested_by"]) == ("site", "failed", None)
    by_job = {one["job_id"]: one for one in found["builds"]}
    assert by_job["index"]["failure_kind"] == "upstream_failed"
    assert by_job["index"]["inputs"] == {"crawl": by_job["crawl"]["id"]}
    other = make_plan("crawl", build_now=frozenset({"seeds"}))
    rows = run_json("list_plans")
    assert [row["id"] for row in rows] == [other.pk, plan.pk]
    assert (rows[1]["state"], rows[1]["builds"]) == ("failed", 5)
    assert [row["id"] for row in run_json("list_plans", "site")] == [plan.pk]
    assert [row["id"] for row in run_json("list_plans", "--limit", "1")] == [other.pk]
    assert "waiting" in run("list_plans").out
    assert run("list_plans", "alone").out.strip() == "No plans."
    text = run("show_plan", plan.pk).out
    assert "no successful build" in text
    assert "FAILED" in text


@pytest.mark.parametrize("name", ["show_plan", "cancel_plan", "resume_plan"])
@pytest.mark.parametrize("number", ["7", str(10**30), "-1", "x"])
def test_a_plan_that_is_not_there_is_said(name, number):
    result = run(name, number, "--format", "json")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "x" in number or f"there is no plan {number}" in result.err


def test_a_plan_is_cancelled_as_a_whole_and_again_without_change():
    plan = make_plan()
    for _ in range(2):
        found = run_json("cancel_plan", plan.pk)
        assert found["state"] == "cancelled"
    assert set(statuses().values()) == {"CANCELLED"}
    done = make_plan()
    work_off()
    result = run("cancel_plan", done.pk)
    assert result.code == 2
    assert f"plan {done.pk} has ended (success) and can't be cancelled." in result.err


def test_a_plan_is_resumed_once_with_what_failed(monkeypatch):
    use_config(FAILING_CRAWL)
    plan = make_plan()
    waiting = run("resume_plan", plan.pk)
    assert waiting.code == 2
    assert f"plan {plan.pk} has not ended" in waiting.err
    work_off()
    use_config(CONFIG)
    found = run_json("resume_plan", plan.pk)
    assert [one["job_id"] for one in found["builds"]] == ["crawl", "index", "site"]
    assert (found["resumes"], found["state"]) == (plan.pk, "waiting")
    assert run_json("show_plan", plan.pk)["resumed_by"] == found["id"]
    again = run("resume_plan", plan.pk)
    assert again.code == 2
    assert f"was resumed before, as plan {found['id']}" in again.err
    work_off()
    done = run("resume_plan", found["id"])
    assert done.code == 2
    assert "all of it succeeded" in done.err


@pytest.mark.parametrize(("config", "code"), [(CONFIG, 0), (FAILING_CRAWL, 1)])
def test_a_resumed_plan_is_waited_for(monkeypatch, config, code):
    use_config(FAILING_CRAWL)
    plan = make_plan()
    work_off()
    use_config(config)
    threads = in_a_worker(monkeypatch)
    result = run("resume_plan", plan.pk, "--wait", "--format", "json")
    assert result.code == code
    assert result.json["state"] == ("failed" if code else "success")
    for thread in threads:
        thread.join()


def test_a_resumed_plan_is_armed_by_somebody_who_may():
    use_config(FAILING_CRAWL.replace("id: index,", "id: index, protect: true,"))
    plan = services.request_build(
        job=Job.objects.get(pk="site"),
        trigger="cli",
        arm=True,
        options=Options(Dependencies.OUTDATED),
    ).plan
    work_off()
    for name in ("viewer", "operator", "manager"):
        User.objects.create_user(name).groups.add(Group.objects.get(name=name))
    for arguments, complaint in (
        ([], "job 'index' is protected: arm it to build it. Say so with --arm."),
        (["--user", "viewer"], "builds.run_build is needed"),
        (["--user", "operator", "--arm"], "builds.run_protected_build is needed"),
        (["--user", "nobody", "--arm"], "there is no active user 'nobody'"),
    ):
        result = run("resume_plan", plan.pk, *arguments)
        assert result.code == 2
        assert complaint in result.err
    assert not plan.resumed_by.exists()
    found = run_json("resume_plan", plan.pk, "--user", "manager", "--arm")
    assert found["requested_by"] == "manager"
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"site", "index"}


# --- Plans that were left behind ------------------------------------------------------------------


def left_behind(runner_name):
    made = services.create_plan(
        runner=runner_name,
        job=Job.objects.get(pk="site"),
        trigger="cli",
        options=Options(Dependencies.OUTDATED),
    )
    return made.plan


def dead():
    here = WorkerIdentity.current()
    return WorkerIdentity(here.host, here.host_id, here.pid, "1")


ELSEWHERE = WorkerIdentity("far", "another", 1, "1")


def test_what_a_dead_process_left_of_its_plan_is_cancelled():
    plan = left_behind(str(dead()))
    mine = left_behind(str(WorkerIdentity.current()))
    queued = make_plan()
    Supervisor(lambda _: None).tick()
    assert set(statuses(plan).values()) == {"CANCELLED"}
    assert "CANCELLED" not in {*statuses(mine).values(), *statuses(queued).values()}
    message = Build.objects.filter(plan=plan).first().log_messages.get().message
    assert message == (f"Build cancelled before it began: {dead().label}, which ran it, is gone.")


def test_a_plan_with_a_running_build_is_left_until_that_has_ended():
    plan = left_behind(str(dead()))
    first = plan.builds.get(job_id="seeds")
    assert services.claim(worker=WorkerIdentity.current(), build_id=first.pk)
    assert services.cancel_abandoned_plans() == 0
    assert statuses(plan)["site"] == "WAITING"


def test_a_build_that_runs_in_a_dead_process_is_closed_first():
    plan = left_behind(str(dead()))
    first = plan.builds.get(job_id="seeds")
    assert services.claim(worker=dead(), build_id=first.pk)
    Supervisor(lambda _: None).tick()
    assert statuses(plan) == dict.fromkeys(("seeds", "crawl", "index", "stats", "site"), "FAILED")


def test_a_process_of_another_host_is_gone_when_its_plan_is_silent_for_a_lease(settings):
    plan = left_behind(str(ELSEWHERE))
    assert services.cancel_abandoned_plans() == 0
    settings.LEASE_SECONDS = -1
    assert services.cancel_abandoned_plans(patient=True) == 0
    assert services.cancel_abandoned_plans() == 1
    assert set(statuses(plan).values()) == {"CANCELLED"}


def test_looking_for_what_was_left_behind_takes_one_question(django_assert_num_queries):
    for _ in range(3):
        left_behind(str(WorkerIdentity.current()))
    make_plan()
    with django_assert_num_queries(1):
        assert services.cancel_abandoned_plans() == 0
