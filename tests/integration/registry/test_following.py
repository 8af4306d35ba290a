"""A process follows its own file, for one stat a check."""

import os
import threading

import pytest
from django.db import DatabaseError

from jobs import checks, mirror, registry
from jobs.config import ConfigError, load_object
from jobs.models import ConfigRevision, Job

pytestmark = pytest.mark.django_db

ONE = "jobs: [{id: a, function: 'math:sqrt', args: [1]}]"
TWO = "jobs: [{id: a, function: 'math:sqrt', args: [1]}, {id: b, function: 'math:sqrt', args: [2]}]"
WRONG = "jobs: [{id: a}"


@pytest.fixture
def loads(monkeypatch):
    """Count how often the file is read."""
    counted = []
    original = registry.load_file

    def load_file(path, **options):
        counted.append(path)
        return original(path, **options)

    monkeypatch.setattr(registry, "load_file", load_file)
    return counted


def ids():
    return list(Job.objects.active().values_list("pk", flat=True))


def test_the_first_call_reads_and_syncs_and_later_ones_do_nothing(
    config_file, loads, no_checks, django_assert_num_queries
):
    config_file.write(ONE)
    registry.ensure_current()
    assert ids() == ["a"]
    with django_assert_num_queries(0):
        for _ in range(10):
            registry.ensure_current()
    assert len(loads) == 1


def test_a_changed_file_is_followed(config_file, no_checks):
    """original #17: changes of the file needed restarts."""
    config_file.write(ONE)
    registry.ensure_current()
    config_file.write(TWO)
    registry.ensure_current()
    assert ids() == ["a", "b"]
    assert [job.id for job in registry.configuration().jobs] == ["a", "b"]


def test_a_changed_include_is_followed(config_file, no_checks):
    config_file.write("{% include 'more.yaml' %}")
    config_file.write(ONE, "more.yaml")
    registry.ensure_current()
    config_file.write(TWO, "more.yaml")
    registry.ensure_current()
    assert ids() == ["a", "b"]


def test_a_broken_file_keeps_the_last_good_registry_and_shows_what_is_wrong(config_file, no_checks):
    config_file.write(ONE)
    registry.ensure_current()
    config_file.write(WRONG)
    registry.ensure_current()
    assert ids() == ["a"]
    assert registry.problems()
    assert [job.id for job in registry.configuration().jobs] == ["a"]
    assert ConfigRevision.objects.count() == 1
    config_file.write(TWO)
    registry.ensure_current()
    assert registry.problems() == ()
    assert ids() == ["a", "b"]


def test_a_broken_file_is_read_once(config_file, loads, no_checks):
    config_file.write(WRONG)
    for _ in range(5):
        registry.ensure_current()
        with pytest.raises(ConfigError):
            registry.configuration()
        registry.redactor()
    assert len(loads) == 1
    assert registry.problems()


def test_a_missing_include_is_noticed_when_it_comes(config_file, no_checks):
    config_file.write("{% include 'more.yaml' %}")
    registry.ensure_current()
    assert registry.problems()
    config_file.write(ONE, "more.yaml")
    registry.ensure_current()
    assert registry.problems() == ()
    assert ids() == ["a"]


def test_a_removed_file_keeps_the_registry_and_its_return_is_noticed(config_file, no_checks):
    config_file.write(ONE)
    registry.ensure_current()
    config_file.path.unlink()
    registry.ensure_current()
    assert ids() == ["a"]
    assert registry.problems()
    config_file.write(TWO)
    registry.ensure_current()
    assert ids() == ["a", "b"]


def test_a_touched_file_writes_nothing_even_if_another_process_wrote_meanwhile(
    config_file, no_checks
):
    """Each process follows its own file only: two of them never undo each other's sync."""
    config_file.write(ONE)
    registry.ensure_current()
    other = load_object({"jobs": [{"id": "theirs", "function": "math:sqrt"}]})
    mirror.write(other, registry.redactor())
    config_file.settle(config_file.path)
    registry.ensure_current()
    assert ids() == ["theirs"]


def test_a_file_written_just_now_is_read_once_more(config_file, loads, no_checks, monkeypatch):
    """Within one tick of the file system's clock a second write can't be told from the first."""
    # A tick that a slow machine can't miss.
    monkeypatch.setattr(registry, "_TICK_NANOSECONDS", 600 * 10**9)
    config_file.path.write_text(ONE)
    registry.ensure_current()
    status = config_file.path.stat()
    config_file.path.write_text(ONE.replace("id: a", "id: z"))
    os.utime(config_file.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    registry.ensure_current()
    assert ids() == ["z"]
    config_file.settle(config_file.path)
    registry.ensure_current()
    count = len(loads)
    registry.ensure_current()
    assert len(loads) == count


def test_a_database_that_fails_is_tried_again(config_file, monkeypatch, no_checks, caplog):
    config_file.write(ONE)
    original = mirror.write
    failures = [DatabaseError("no such table")]

    def write(*args):
        if failures:
            raise failures.pop()
        return original(*args)

    monkeypatch.setattr(mirror, "write", write)
    registry.ensure_current()
    assert "no such table" in caplog.text
    assert ids() == []
    registry.ensure_current()
    assert ids() == ["a"]


def test_checks_that_could_not_be_recorded_are_made_again(config_file, monkeypatch):
    config_file.write(ONE)
    original = mirror.record_checks
    failures = [DatabaseError("locked")]

    def record_checks(*args, **options):
        if failures:
            raise failures.pop()
        return original(*args, **options)

    monkeypatch.setattr(mirror, "record_checks", record_checks)
    registry.ensure_current()
    assert Job.objects.get().docs == {}
    registry.ensure_current()
    assert Job.objects.get().docs["signature"]


def test_only_new_changed_and_marked_jobs_are_looked_at_when_following(config_file, no_checks):
    config_file.write(ONE)
    registry.ensure_current()
    assert no_checks == [["a"]]
    config_file.write(TWO)
    registry.ensure_current()
    assert no_checks == [["a"], ["b"]]


def test_a_process_that_lives_long_looks_again_at_marked_jobs(config_file, tmp_path, monkeypatch):
    config_file.write("""
        jobs:
          - {id: bad, function: "comes_soon:f"}
          - {id: good, function: "math:sqrt", args: [1]}
    """)
    registry.ensure_current()
    assert Job.objects.get(pk="bad").problem
    (tmp_path / "comes_soon.py").write_text("def f(): pass")
    asked = []
    original = checks.check_functions

    def check_functions(specs, **options):
        asked.extend(spec.id for spec in specs)
        return original(specs, **options)

    monkeypatch.setattr(checks, "check_functions", check_functions)
    registry.forget()
    registry.ensure_current()
    assert asked == [], "a command that lives for a moment takes the registry as it is"
    registry.forget()
    registry.ensure_current(recheck_problems=True)
    registry.ensure_current(recheck_problems=True)
    assert asked == ["bad"]
    assert Job.objects.get(pk="bad").problem == ""


def test_what_could_not_be_looked_at_in_time_is_not_tried_by_each_new_process(
    config_file, no_checks
):
    config_file.write(ONE)
    registry.ensure_current()
    registry.forget()
    registry.ensure_current()
    assert no_checks == [["a"]]
    assert Job.objects.get().problem == ""


def test_a_mark_stays_when_the_time_is_over(config_file, monkeypatch):
    config_file.write('jobs: [{id: bad, function: "never_comes:f"}]')
    registry.sync()
    monkeypatch.setattr(checks, "check_functions", lambda specs, **options: {})
    registry.forget()
    registry.ensure_current(recheck_problems=True)
    assert "never_comes" in Job.objects.get().problem


def test_a_file_replaced_while_it_was_read_is_read_again(config_file, monkeypatch, no_checks):
    config_file.write(ONE)
    original = registry.load_file

    def load_file(path, **options):
        configuration = original(path, **options)
        if len(configuration.jobs) == 1:
            config_file.write(TWO)
        return configuration

    monkeypatch.setattr(registry, "load_file", load_file)
    registry.ensure_current()
    assert ids() == ["a"]
    registry.ensure_current()
    assert ids() == ["a", "b"]


def test_an_explicit_sync_of_the_file_follows_it_from_then_on(config_file, no_checks):
    registry.use(load_object({"jobs": []}))
    config_file.write(ONE)
    registry.sync()
    config_file.write(TWO)
    registry.ensure_current()
    assert ids() == ["a", "b"]


def test_a_handed_over_configuration_is_kept(config_file, no_checks):
    mine = load_object({"jobs": [{"id": "mine", "function": "math:sqrt", "args": [1]}]})
    config_file.write(ONE)
    registry.ensure_current()
    registry.use(mine)
    registry.ensure_current()
    assert ids() == ["mine"]
    config_file.write(TWO)
    registry.ensure_current()
    assert ids() == ["mine"]
    assert registry.configuration() is mine


def test_python_path_is_appended_once(config_file, tmp_path, monkeypatch, no_checks):
    monkeypatch.setattr("sys.path", ["/first"])
    config_file.write(f"python_path: ['{tmp_path}/lib']\n" + ONE)
    registry.ensure_current()
    registry.forget()
    registry.ensure_current()
    assert registry.sys.path == ["/first", f"{tmp_path}/lib"]


@pytest.mark.django_db(transaction=True)
def test_many_threads_read_a_new_file_once(config_file, loads, no_checks):
    config_file.write(ONE)
    registry.ensure_current()
    config_file.write(TWO)
    barrier = threading.Barrier(8)
    seen = []

    def follow():
        barrier.wait()
        registry.ensure_current()
        seen.append(len(registry.configuration().jobs))
        from django.db import connection

        connection.close()

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 8
    assert len(loads) == 2
    assert ids() == ["a", "b"]
