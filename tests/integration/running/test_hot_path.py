"""What a build costs the database, statement by statement: the table in docs/architecture.md.

Whoever adds a statement sees it here, and changes the table there.
"""

from __future__ import annotations

import re
from time import monotonic

import pytest
from django.db import connection
from django.db.models.sql.compiler import SQLCompiler, SQLUpdateCompiler

from builds import queue, recorder, runner, services, tasks
from builds.models import Build, LogMessage
from jobs.models import Job
from tests.bootstrap import ROOT
from tests.support.jobs import use_config
from tests.support.statements import Heard, heard

pytestmark = pytest.mark.django_db(transaction=True)

JOBS = """
    jobs:
      - {id: alone, function: "tests.support.odd_jobs:value", args: [1]}
      - {id: user, function: "tests.support.odd_jobs:value", args: [1], dependencies: [alone]}
      - {id: reader, function: "tests.support.odd_jobs:value", args: [!retval alone]}
      - {id: talker, function: "tests.support.odd_jobs:log_many", args: [25]}
      - {id: limited, function: "tests.support.odd_jobs:value", concurrency: 1}
"""

REQUEST = [
    "BEGIN",
    "SELECT jobs_jobdependency",
    "SELECT jobs_configrevision",
    "INSERT builds_build",
    "INSERT builds_buildpayload",
    "COMMIT",
]
WAKE_UP = ["INSERT django_q_ormq, at once"]
IS_POSTGRES = connection.vendor == "postgresql"
TAKEN = (
    ["DELETE django_q_ormq, at once"]
    if IS_POSTGRES
    else ["SELECT django_q_ormq", "BEGIN", "DELETE django_q_ormq", "COMMIT"]
)
CLAIM = ["BEGIN", "UPDATE builds_build", "SELECT builds_build", "COMMIT"]
FINISH = [
    "BEGIN",
    "UPDATE builds_build",
    "UPDATE builds_buildpayload",
    "INSERT builds_logmessage",
    "COMMIT",
]
# PostgreSQL does both at once; the first one is what is heard.
AT_ONCE = {"SELECT builds_build", "UPDATE builds_buildpayload"}
CLAIMED, FINISHED = (
    [line for line in part if not (IS_POSTGRES and line in AT_ONCE)] for part in (CLAIM, FINISH)
)
# The claim after the last build; a worker asks for deletions before it waits for the next wake-up.
NOTHING = ["BEGIN", "UPDATE builds_build", "COMMIT"]
NO_DELETION = ["BEGIN", "UPDATE builds_deletion", "COMMIT"]
MAX_COMMITS = 4


@pytest.fixture
def said(monkeypatch):
    """What a warm process says: one build of each job was made before."""
    # What comes by time comes not by chance, on a slow machine.
    for name in ("FLUSH_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(recorder, name, 3_600.0)
    use_config(JOBS)
    for job in Job.objects.active():
        ask(job.pk)
        work()
    with heard() as every:
        yield every


def ask(name: str) -> Build:
    return services.request_build(job=Job.objects.get(pk=name), trigger="cli")


def work() -> None:
    """Do what the cluster does for one wake-up: its pusher takes it, a worker works."""
    assert queue._broker().dequeue()
    tasks.work()


def lines(said: Heard) -> list[str]:
    """Return what was said."""
    # A pusher, which is a process of its own, does so once; here a job closed its connection.
    return [line for line in said.take() if not line.startswith("LISTEN")]


def locked(table: str) -> str:
    """Return the line of a SELECT that locks its rows where the database can."""
    return f"SELECT {table}{' (lock)' if IS_POSTGRES else ''}"


def asked(said: Heard, name: str) -> list[str]:
    """Ask for a build and return what was said for it, but for the look at the job."""
    said.take()
    ask(name)
    first, *rest = lines(said)
    assert first == "SELECT jobs_job"
    return rest


def worked(said: Heard) -> list[str]:
    said.take()
    work()
    return lines(said)


def test_a_build_costs_ten_statements_and_four_commits(said):
    assert asked(said, "alone") == [*REQUEST, *WAKE_UP]
    assert worked(said) == [*TAKEN, *CLAIMED, *FINISHED, *NOTHING, *NO_DELETION]
    every = Heard()
    every.lines = [*REQUEST, *WAKE_UP, *CLAIMED, *FINISHED]
    assert every.commits <= MAX_COMMITS
    assert Build.objects.first().status == "SUCCESSFUL"


def test_more_than_some_log_rows_cost_a_copy_and_no_statement_more(said):
    asked(said, "talker")
    many = "COPY" if IS_POSTGRES else "INSERT"
    stored = [line for line in worked(said) if "logmessage" in line]
    assert set(stored) == {f"{many} builds_logmessage"}
    assert len(stored) == (1 if IS_POSTGRES else 2)  # whole tens, and the rest
    messages = list(LogMessage.objects.order_by("pk").values_list("message", flat=True))
    assert messages[-26:-1] == [f"message {n}" for n in range(25)]


def test_builds_that_wait_together_cost_no_wake_up_more(said):
    """A woken worker goes on claiming; what is said between two builds is nothing."""
    asked(said, "alone")
    asked(said, "alone")
    assert worked(said) == [
        *TAKEN,
        *CLAIMED,
        *FINISHED,
        *CLAIMED,
        *FINISHED,
        *NOTHING,
        *NO_DELETION,
    ]


def test_a_warm_process_puts_no_statement_of_a_build_together(said, monkeypatch):
    """It would take several times as long as the database takes to answer."""
    ask("alone")
    assert queue._broker().dequeue()
    made = []
    prepare = SQLCompiler.pre_sql_setup, SQLUpdateCompiler.pre_sql_setup

    for kind, before in zip((SQLCompiler, SQLUpdateCompiler), prepare, strict=True):

        def noted(self, *args, before=before, **options):
            made.append(self.query.model)
            return before(self, *args, **options)

        monkeypatch.setattr(kind, "pre_sql_setup", noted)
    runner.run_all(until=monotonic() + 60)
    assert made == []
    assert Build.objects.first().status == "SUCCESSFUL"


def test_a_dependency_costs_three_statements(said):
    choose = ["SELECT jobs_job", locked("builds_build")]
    begin, links, *rest, commit = REQUEST
    whole = [begin, links, *choose, *rest, "INSERT builds_builddependency", commit]
    assert asked(said, "user") == [*whole, *WAKE_UP]
    assert worked(said) == [*TAKEN, *CLAIMED, *FINISHED, *NOTHING, *NO_DELETION]


def test_values_of_dependencies_are_read_in_one_statement(said):
    asked(said, "reader")
    values = ["SELECT builds_builddependency"]
    assert worked(said) == [*TAKEN, *CLAIMED, *values, *FINISHED, *NOTHING, *NO_DELETION]


def test_a_limit_costs_a_lock_and_a_count(said):
    assert asked(said, "limited") == [*REQUEST, *WAKE_UP]
    *claim, commit = CLAIMED
    limit = [locked("jobs_job"), "SELECT builds_build", commit]
    after = ["SELECT builds_build"]
    whole = [*TAKEN, *claim, *limit, *FINISHED, *after, *NOTHING, *NO_DELETION]
    assert worked(said) == whole


def test_the_table_of_the_documentation_is_this_one():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("### What a build costs the database")[2].partition("\n#")[0]
    rows = re.findall(r"^\| ([^|`]+) \| (`[^|]+) \| (\d) \|$", section, re.MULTILINE)
    parts = {"request": REQUEST, "wake-up": WAKE_UP, "claim": CLAIM, "end": FINISH}
    assert rows == [(name, *_row(said)) for name, said in parts.items()]


def _row(said: list[str]) -> tuple[str, str]:
    every = Heard()
    every.lines = said
    done = [f"`{line}`" for line in said if line not in ("BEGIN", "COMMIT")]
    return ", ".join(done).replace(", at once", ""), str(every.commits)
