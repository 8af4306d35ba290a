"""The registry is written whole or not at all, by one process at a time, and without secrets."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, transaction

from jobs import mirror
from jobs.checks import FunctionCheck
from jobs.config import load_object
from jobs.models import ConfigRevision, Job, JobDependency
from jobs.redaction import Redactor

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = Redactor({})


def config(*ids, **keys):
    jobs = [{"id": name, "function": "m:f", **keys} for name in ids]
    for before, job in zip(jobs, jobs[1:], strict=False):
        job["dependencies"] = [before["id"]]
    return load_object({"jobs": jobs})


def ids():
    return list(Job.objects.active().values_list("pk", flat=True))


def test_a_write_that_fails_half_way_leaves_nothing_of_itself(monkeypatch):
    mirror.write(config("a", "b"), NOTHING)
    before = list(Job.objects.values()), list(JobDependency.objects.values())

    def fail(*_args, **_options):
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(ConfigRevision.objects, "create", fail)
        with pytest.raises(DatabaseError):
            mirror.write(config("b", "c", "d", title="new"), NOTHING)
    assert (list(Job.objects.values()), list(JobDependency.objects.values())) == before
    mirror.write(config("b", "c", "d", title="new"), NOTHING)
    assert ids() == ["b", "c", "d"]


def test_what_another_process_wrote_while_we_waited_is_seen(monkeypatch):
    original = mirror._only_writer
    theirs = [config("theirs", "shared")]

    @contextmanager
    def waited():
        if theirs:
            mirror.write(theirs.pop(), NOTHING)
        with original():
            yield

    monkeypatch.setattr(mirror, "_only_writer", waited)
    mirror.write(config("ours", "shared"), NOTHING)
    assert ids() == ["ours", "shared"]
    assert [str(link) for link in JobDependency.objects.all()] == ["shared needs ours"]
    assert list(Job.objects.retired().values_list("pk", flat=True)) == ["theirs"]


def test_what_the_check_of_a_function_says_is_masked():
    secrets = Redactor({"token": "hunter22-hunter22"})
    mirror.write(config("a"), secrets)
    text = "it says hunter22-hunter22"
    check = FunctionCheck(problem=text, signature=text, docstring=text)
    assert mirror.record_checks({"a": check}, secrets) == {"a": "it says •••"}
    found = Job.objects.get()
    assert found.problem == "it says •••"
    assert found.docs == {
        "signature": "it says •••",
        "docstring": "it says •••",
        "parameters": None,
    }


def test_a_changed_job_is_written_while_somebody_asks_for_a_build_of_it():
    """Whose transaction holds its key; and two jobs in another order would be a deadlock."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    mirror.write(config("a"), NOTHING)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
            mirror.write(config("a", title="new"), NOTHING)
        except DatabaseError as error:
            failures.append(error)
        finally:
            connection.close()

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM jobs_job WHERE id = 'a' FOR KEY SHARE")
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert not failures, failures
    assert Job.objects.get().title == "new"
