"""Commands that answer: list_jobs, show_job, list_builds, get_build."""

import pytest

from builds.models import Build
from jobs.models import Job
from tests.support.commands import run, run_json
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - id: last
    title: "The <last>"
    notes: some notes
    tags: [a, b]
    function: jobcontrol.utils.testing:job_simple_echo
    args: [!retval first, 3]
    kwargs: {when: 2026-01-31}
  - id: first
    tags: [a]
    function: jobcontrol.utils.testing:testing_job
    kwargs:
      retval: 7
      progress_steps: [[[One, "T::wo"], 2]]
  - id: failing
    protect: true
    function: jobcontrol.utils.testing:testing_job
    kwargs: {fail: true}
  - id: skipping
    function: jobcontrol.utils.testing:testing_job
    kwargs: {skip: true}
"""
SUMMARY = {
    "id",
    "title",
    "status",
    "stale_reasons",
    "running",
    "tags",
    "protected",
    "dependencies",
    "problem",
}
DETAIL = SUMMARY | {
    "function",
    "args",
    "kwargs",
    "notes",
    "reverse_dependencies",
    "latest_successful_build",
    "next_runs",
    "schedule_paused",
}
BUILD = {
    "id",
    "job_id",
    "status",
    "started",
    "finished",
    "success",
    "skipped",
    "start_time",
    "end_time",
    "retval",
    "exception",
    "failure_kind",
    "attempt",
    "retry_of",
    "cancel_requested",
    "waits_for",
    "dependency_builds",
    "plan",
    "plan_reason",
    "progress",
}


@pytest.fixture(autouse=True)
def config():
    use_config(CONFIG)


def test_jobs_are_listed_in_the_order_of_the_file():
    """original #30"""
    rows = run_json("list_jobs")
    assert [row["id"] for row in rows] == ["last", "first", "failing", "skipping"]
    assert all(set(row) == SUMMARY for row in rows)
    assert rows[0] == {
        "id": "last",
        "title": "The <last>",
        "status": "not_built",
        "stale_reasons": [],
        "running": False,
        "tags": ["a", "b"],
        "protected": False,
        "dependencies": ["first"],
        "problem": "",
    }


def test_two_tags_mean_both():
    """original #18"""
    assert [row["id"] for row in run_json("list_jobs", "--tag", "a")] == ["last", "first"]
    assert [row["id"] for row in run_json("list_jobs", "--tag", "a", "--tag", "b")] == ["last"]


def test_the_table_for_people_says_what_is_missing_and_what_failed():
    failed = build("failing")
    text = run("list_jobs").out
    assert "\x1b" not in text
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert "needs a build of first" in rows["last"]
    assert f"#{failed.pk} FAILED" in rows["failing"]
    assert "protected" in rows["failing"]


def test_no_jobs_are_an_empty_list():
    use_config("jobs: []")
    assert run_json("list_jobs") == []
    assert run("list_jobs").out == "No jobs.\n"


def test_a_job_is_shown_with_its_call_and_neighbours():
    first = build("first")
    row = run_json("show_job", "last")
    assert set(row) == DETAIL
    assert row["args"] == [{"!retval": "first"}, 3]
    assert row["kwargs"] == {"when": {"!date": "2026-01-31"}}
    assert row["function"] == "jobcontrol.utils.testing:job_simple_echo"
    assert row["latest_successful_build"] is None
    row = run_json("show_job", "first")
    assert row["reverse_dependencies"] == ["last"]
    assert row["latest_successful_build"] == run_json("get_build", first.pk)
    text = run("show_job", "last").out
    assert "some notes" in text
    assert "!retval first" in text


def test_an_unknown_job_names_the_nearest_one():
    result = run("show_job", "lats")
    assert (result.code, result.out) == (2, "")
    assert result.err == "there is no job 'lats'; did you mean 'last'?\n"


def test_a_build_has_exactly_the_promised_names():
    first = build("first")
    last = build("last")
    row = run_json("get_build", first.pk)
    assert set(row) == BUILD
    assert row["job_id"] == "first"
    assert row["status"] == "SUCCESSFUL"
    assert row["retval"] == "7"
    assert (row["started"], row["finished"], row["success"], row["skipped"]) == (
        True,
        True,
        True,
        False,
    )
    assert row["exception"] is None
    assert row["failure_kind"] is None
    assert row["start_time"] == first.start_time.isoformat()
    assert row["start_time"].endswith("+00:00")
    assert set(row["progress"]) == {"name", "current", "total", "status_line", "children"}
    assert row["progress"]["children"][0]["children"][0]["name"] == "T::wo"
    assert row["progress"]["total"] == 2
    assert run_json("get_build", last.pk)["dependency_builds"] == {"first": first.pk}


def test_a_failed_build_says_why():
    row = run_json("get_build", build("failing").pk)
    assert row["status"] == "FAILED"
    assert row["success"] is False
    assert row["retval"] is None
    assert row["failure_kind"] == "exception"
    assert row["exception"].startswith("RuntimeError: ")
    text = run("get_build", row["id"]).out
    assert "Traceback (most recent call last):" in text
    assert "RuntimeError" in text


def test_a_skipped_build_has_no_return_value_and_no_exception_but_its_reason_is_shown():
    """original #2"""
    skipped = build("skipping")
    row = run_json("get_build", skipped.pk)
    assert row["status"] == "SKIPPED"
    assert (row["success"], row["skipped"]) == (True, True)
    assert row["retval"] is None
    assert row["exception"] is None
    assert skipped.exception_message
    assert skipped.exception_message in run("get_build", skipped.pk).out


@pytest.mark.parametrize("number", ["0", "-5", str(2**63), "9" * 40])
def test_a_build_that_is_not_there(number):
    result = run("get_build", "--", number)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"there is no build {number}\n"


def ids(*arguments):
    return [row["id"] for row in run_json("list_builds", *arguments)]


def test_builds_are_listed_by_the_filters_of_the_manual():
    """original #33"""
    first, failed, skipped = build("first"), build("failing"), build("skipping")
    created = Build.objects.create(job=Job.objects.get(pk="first"))
    every = [first.pk, failed.pk, skipped.pk, created.pk]
    assert ids() == every[::-1]
    assert ids("--order", "asc") == every
    assert ids("--limit", 2) == every[:1:-1]
    assert ids("--limit", 0) == every[::-1]
    assert ids("first") == [created.pk, first.pk]
    assert ids("--started") == ids("--finished") == every[2::-1]
    assert ids("--no-started") == ids("--no-finished") == [created.pk]
    assert ids("--success") == [skipped.pk, first.pk]
    assert ids("--finished", "--no-success") == [failed.pk]
    assert ids("--success", "--no-skipped") == [first.pk]
    assert ids("--skipped") == [skipped.pk]
    assert all(set(row) == BUILD for row in run_json("list_builds"))


def test_builds_of_an_unknown_job_are_a_mistake_not_an_empty_list():
    assert run("list_builds", "nope").code == 2


def test_listing_builds_asks_the_database_a_bounded_number_of_times(django_assert_max_num_queries):
    for _ in range(3):
        build("first")
    with django_assert_max_num_queries(6):
        assert len(run_json("list_builds")) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("list_builds", "--limit", "-1"), "--limit"),
        (("list_builds", "--order", "up"), "--order"),
        (("get_build", "one"), "'one'"),
        (("get_build",), "ID"),
        (("show_job",), "JOB"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, complaint):
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.err
    assert result.err.count("\n") == 1
