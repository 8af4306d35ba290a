"""Asking for builds: inputs, arming, nesting, and the objects that job code gets."""

from __future__ import annotations

import pytest

from builds import retvals, runner, services
from builds.models import Build
from builds.workers import WorkerIdentity
from jobcontrol.core import JobControl
from jobcontrol.exceptions import (
    BuildStateError,
    InvalidRequest,
    MissingDependencies,
    NotFound,
    ProtectedJob,
    RetvalError,
)
from jobs.models import Job
from tests.support import odd_jobs
from tests.support.jobs import build, messages, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CHAIN = """
jobs:
  - id: first
    function: tests.support.odd_jobs:value
    args: [{pages: [1, 2]}]
  - id: 2
    function: tests.support.odd_jobs:value
    args: [two]
  - id: last
    title: The last
    my_key: my value
    function: tests.support.odd_jobs:echo
    args:
      - !retval first
      - [deep, {x: !retval first}, !retval 2]
      - "url with {id} braces"
    kwargs:
      conf: {"{id}": "{name}", other: !retval 2}
"""


def retval_of(build):
    return retvals.unseal(build.pk, bytes(build.payload.retval))


def test_retvals_are_resolved_at_any_depth_and_braces_pass():
    """original #9, #10, #11"""
    use_config(CHAIN)
    build("first"), build("2")
    last = build("last")
    assert last.status == "SUCCESSFUL", last.exception_message
    pages = {"pages": [1, 2]}
    assert retval_of(last) == (
        (pages, ["deep", {"x": pages}, "two"], "url with {id} braces"),
        {"conf": {"{id}": "{name}", "other": "two"}},
    )


def test_each_consumer_gets_a_fresh_copy():
    """original #9"""
    use_config(CHAIN)
    build("first"), build("2")
    args, _ = retval_of(build("last"))
    assert args[0] == args[1][1]["x"]
    assert args[0] is not args[1][1]["x"]


def test_inputs_are_pinned_when_the_build_is_created():
    """original #9"""
    use_config(CHAIN)
    first, two = build("first"), build("2")
    made = services.create_build(job=Job.objects.get(pk="last"), trigger="python")
    newer = build("first")
    ended = runner.run_here(made)
    used = dict(ended.inputs.values_list("job_id", "dep_build_id"))
    assert used == {"first": first.pk, "2": two.pk}
    assert newer.pk not in used.values()


def test_the_file_can_pin_builds():
    """original #9"""
    use_config(CHAIN)
    first, _ = build("first"), build("2")
    build("first")
    use_config(CHAIN + f"    pinned_builds: {{first: {first.pk}}}\n")
    assert dict(build("last").inputs.values_list("job_id", "dep_build_id"))["first"] == first.pk
    use_config(CHAIN + "    pinned_builds: {first: 999999}\n")
    with pytest.raises(InvalidRequest, match="#999999 is not a successful build of 'first'"):
        build("last")


def test_missing_dependencies_are_all_named():
    """original #12"""
    use_config(CHAIN)
    job = Job.objects.get(pk="last")
    with pytest.raises(MissingDependencies) as caught:
        services.request_build(job=job, trigger="python")
    assert caught.value.missing == ("first", "2")
    assert "'first', '2'" in str(caught.value)
    assert not Build.objects.exists()
    assert services.why_not_buildable(job) == str(caught.value)


def test_a_deleted_input_is_a_clear_failure():
    use_config(CHAIN)
    first, _ = build("first"), build("2")
    made = services.create_build(job=Job.objects.get(pk="last"), trigger="python")
    Build.objects.filter(pk=first.pk).delete()
    ended = runner.run_here(made)
    assert ended.exception_type.endswith(RetvalError.__name__)
    assert f"build #{first.pk} of 'first'" in ended.exception_message


def test_configuration_is_copied_when_the_build_is_created():
    """original #6, #16"""
    use_config(CHAIN)
    build("first"), build("2")
    made = services.create_build(job=Job.objects.get(pk="last"), trigger="python")
    use_config(CHAIN.replace("my value", "another").replace("[deep,", "[changed,"))
    ended = runner.run_here(made)
    assert retval_of(ended)[0][1][0] == "deep"
    assert JobControl().get_build(ended.pk).config["my_key"] == "my value"
    assert "my value" in ended.payload.config_text


def test_a_finished_build_is_not_run_again():
    """original #7"""
    use_config(CHAIN)
    done = build("first")
    with pytest.raises(BuildStateError, match="successful"):
        runner.run_here(done)
    with pytest.raises(BuildStateError):
        services.queue_build(build=done)


def test_a_retired_job_is_refused_and_keeps_its_builds():
    use_config(CHAIN)
    done = build("first")
    use_config("jobs: []")
    job = Job.objects.get(pk="first")
    with pytest.raises(InvalidRequest, match="no longer"):
        services.request_build(job=job, trigger="python")
    assert list(job.builds.all()) == [done]


PROTECTED = """
jobs:
  - id: danger
    protect: true
    function: tests.support.odd_jobs:value
  - id: outer
    function: tests.support.odd_jobs:nested
    args: [danger]
  - id: armed
    function: tests.support.odd_jobs:nested
    args: [danger, true]
"""


def test_a_protected_job_starts_armed_only():
    use_config(PROTECTED)
    job = Job.objects.get(pk="danger")
    app = JobControl()
    for attempt in (
        lambda: services.request_build(job=job, trigger="cli"),
        lambda: app.build_job("danger"),
        lambda: app.get_job("danger").run(),
        lambda: app.run_build(app.create_build("danger")),
        lambda: services.queue_build(build=app.create_build("danger").model),
    ):
        with pytest.raises(ProtectedJob, match="'danger' is protected"):
            attempt()
    assert not Build.objects.exclude(status="CREATED").exists()
    assert build("outer").exception_type.endswith("ProtectedJob")
    assert build("armed").status == "SUCCESSFUL"
    assert services.request_build(job=job, trigger="cli", arm=True).armed
    assert app.build_job("danger", arm=True).model.armed
    assert Build.objects.filter(job="danger", status="SUCCESSFUL", armed=False).count() == 0


def test_a_job_that_became_protected_while_its_build_waited_does_not_start():
    use_config(PROTECTED.replace("    protect: true\n", ""))
    waiting = services.request_build(job=Job.objects.get(pk="danger"), trigger="cli")
    use_config(PROTECTED)
    ended = runner.run_here(waiting)
    assert ended.status == "FAILED"
    assert ended.exception_type.endswith("ProtectedJob")


def test_ids_that_nothing_can_have_are_not_found():
    use_config(CHAIN)
    app = JobControl()
    for number in ("abc", -1, 10**30, None, "1.5", "٣"):
        with pytest.raises(NotFound):
            app.get_build(number)
    for name in ("\udcff", "\x00", "x" * 1000, None):
        with pytest.raises(NotFound):
            app.get_job(name)


def test_a_build_deleted_twice_is_not_found():
    use_config(CHAIN)
    made = build("first")
    app = JobControl()
    one, two = app.get_build(made.pk), app.get_build(made.pk)
    one.delete()
    with pytest.raises(NotFound, match="not there any more"):
        two.delete()


def test_a_nested_build_runs_and_the_context_comes_back():
    """original #29"""
    use_config(
        """
        jobs:
          - id: inner
            function: tests.support.odd_jobs:log_exception
          - id: outer
            function: tests.support.odd_jobs:nested
            args: [inner]
        """
    )
    outer = build("outer")
    before, after, inner_id, _ = retval_of(outer)
    assert before == after == outer.pk
    inner = Build.objects.get(pk=inner_id)
    assert (inner.status, inner.trigger) == ("SUCCESSFUL", "nested")
    assert "it went wrong, a local" in messages(inner)
    assert "it went wrong, a local" not in messages(outer)
    assert "back in the outer build" in messages(outer)
    assert messages(inner)[-1] == "Build finished with success."


def test_job_code_sees_its_job_and_build():
    """original #29 and the calls of real users"""
    use_config(
        """
        jobs:
          - id: dep
            function: tests.support.odd_jobs:value
          - id: look
            my_key: {a: 1}
            dependencies: [dep]
            function: tests.support.odd_jobs:look_around
        """
    )
    build("dep")
    ended = build("look")
    assert retval_of(ended) == {
        "job": "look",
        "build": ended.pk,
        "status": "RUNNING",
        "context": ("look", ended.pk),
        "same": True,
        "key": {"a": 1},
        "deps": ["dep"],
        "repr": "<Job 'look'>",
    }


def test_the_old_storage_calls_work_and_say_that_they_are_old():
    use_config(
        """
        jobs:
          - id: dep
            function: tests.support.odd_jobs:value
            args: [kept]
          - id: old
            function: tests.support.odd_jobs:old_storage
            args: [dep]
        """
    )
    assert retval_of(build("old")) is None
    build("dep")
    ended = build("old")
    assert retval_of(ended) == "kept"
    row = ended.progress.get()
    assert (row.current, row.total) == (3, 7)
    assert any("deprecated" in line for line in messages(ended))


def test_the_application_object_does_what_its_manual_says():
    """original #1, #5, #7"""
    use_config(CHAIN)
    app = JobControl()
    assert [job.id for job in app.iter_jobs()] == ["first", "2", "last"]
    with pytest.raises(NotFound, match="nobody"):
        app.get_job("nobody")
    with pytest.raises(NotFound, match="12345"):
        app.get_build(12345)
    made = app.create_build("first")
    assert (made.descriptive_status, made["started"], made["finished"]) == ("CREATED", False, False)
    ran = app.run_build(made.id)
    assert ran == made
    assert ran["success"]
    assert ran["retval"] == {"pages": [1, 2]}
    job = app.get_job(2)
    assert (job.has_builds(), job.can_be_built()) == (False, True)
    assert not app.get_job("last").can_be_built()
    assert job.run().job_id == "2"
    assert app.get_job("last").can_be_built()
    assert job.get_latest_successful_build()["retval"] == "two"
    assert [dep.id for dep in app.get_job("last").get_deps()] == ["first", "2"]
    assert [user.id for user in job.get_revdeps()] == ["last"]
    assert [found.id for found in app.get_job("first").iter_builds(success=True)] == [made.id]
    assert list(app.get_job("first").iter_builds(success=False)) == []


def test_two_builds_of_one_job_may_run_at_once():
    """original #8"""
    use_config(CHAIN)
    job = Job.objects.get(pk="first")
    for _ in range(2):
        services.request_build(job=job, trigger="python")
    worker = WorkerIdentity.current()
    claimed = [services.claim(worker=worker) for _ in range(3)]
    assert [found.pk for found in claimed if found] == list(
        Build.objects.running().order_by("id").values_list("pk", flat=True)
    )
    assert claimed[2] is None


def test_priority_and_time_decide_what_is_claimed():
    from datetime import timedelta

    from django.utils import timezone

    use_config(CHAIN)
    job = Job.objects.get(pk="first")
    low, high, later = (services.request_build(job=job, trigger="python") for _ in range(3))
    Build.objects.filter(pk=high.pk).update(priority=5)
    Build.objects.filter(pk=later.pk).update(
        priority=9, not_before=timezone.now() + timedelta(hours=1)
    )
    worker = WorkerIdentity.current()
    assert [services.claim(worker=worker).pk for _ in range(2)] == [high.pk, low.pk]
    assert services.claim(worker=worker) is None


def test_repr_functions_make_the_text_of_values():
    """original #18"""
    use_config(
        """
        jobs:
          - id: shown
            function: tests.support.odd_jobs:value
            args: [quiet]
            repr_function: tests.support.odd_jobs:upper_repr
          - id: broken
            function: tests.support.odd_jobs:value
            repr_function: tests.support.odd_jobs:failing_repr
        """
    )
    shown = build("shown")
    assert shown.payload.retval_text == f"VALUE OF BUILD {shown.pk}: 'QUIET'"
    broken = build("broken")
    assert broken.status == "SUCCESSFUL"
    assert "failing_repr" in broken.payload.retval_text


CLEANED = """
jobs:
  - id: clean
    function: tests.support.odd_jobs:value
    args: [files]
    cleanup: tests.support.odd_jobs:cleanup
  - id: fails
    function: tests.support.odd_jobs:raise_
    args: [ValueError]
    cleanup_function: tests.support.odd_jobs:cleanup
  - id: stubborn
    function: tests.support.odd_jobs:value
    cleanup: tests.support.odd_jobs:failing_cleanup
"""


def test_deleting_cleans_up_first():
    """original #19"""
    from builds.deletion_models import Deletion

    use_config(CLEANED)
    app = JobControl()
    odd_jobs.cleaned.clear()
    builds = [build("clean"), build("fails"), app.create_build("clean").model]
    for made in builds:
        app.get_build(made.pk).delete()
    assert odd_jobs.cleaned == [
        (builds[0].pk, "files", True),
        (builds[1].pk, None, False),
        (builds[2].pk, None, False),
    ]
    assert not Build.objects.exists()
    deletion = Deletion.objects.get(build_number=builds[0].pk)
    assert (deletion.outcome, deletion.job_id) == ("done", "clean")
    assert f"cleaning build {builds[0].pk}" in deletion.log
    assert "removing its files" in deletion.log
    spared = build("clean")
    app.get_build(spared.pk).delete(cleanup=False)
    assert len(odd_jobs.cleaned) == 3
    assert not Build.objects.exists()


def test_a_failing_cleanup_keeps_the_build():
    """original #19"""
    from builds.deletion_models import Deletion
    from jobcontrol.exceptions import CleanupFailed

    use_config(CLEANED)
    made = build("stubborn")
    info = JobControl().get_build(made.pk)
    with pytest.raises(CleanupFailed, match="on strike"):
        info.delete()
    assert Build.objects.filter(pk=made.pk).exists()
    deletion = Deletion.objects.get()
    assert deletion.outcome == "failed"
    assert deletion.traceback["type"] == "RuntimeError"
    info.delete(cleanup=False)
    assert not Build.objects.exists()


def test_a_build_in_use_is_not_deleted():
    use_config(CHAIN)
    first, _ = build("first"), build("2")
    services.request_build(job=Job.objects.get(pk="last"), trigger="python")
    with pytest.raises(BuildStateError, match="unfinished builds need it"):
        JobControl().get_build(first.pk).delete()
    running = services.claim(worker=WorkerIdentity.current())
    with pytest.raises(BuildStateError, match="running"):
        JobControl().get_build(running.pk).delete()
