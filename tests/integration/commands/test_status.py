"""Where jobs stand (original #3 to #6), for any number of them in a bounded number of queries."""

from dataclasses import replace

import pytest

from builds.deletion import delete_build
from builds.models import Build, BuildPayload
from builds.status import (
    UNFINISHED_SHOWN,
    job_status,
    job_statuses,
    statuses_of,
    with_builds_shown,
)
from jobs.models import Job
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CHAIN = """
jobs:
  - {id: a, function: "tests.support.odd_jobs:value"}
  - {id: b, function: "tests.support.odd_jobs:value", args: [!retval a]}
"""


def status(job_id):
    return job_status(Job.objects.get(pk=job_id))


def made(job_id, state, **fields):
    """A build in a state, as if it had happened."""
    return Build.objects.create(job_id=job_id, status=state, **fields)


@pytest.fixture(autouse=True)
def config():
    use_config(CHAIN)


def test_a_job_without_builds_is_not_built():
    """original #3"""
    assert status("a").status == "not_built"
    assert status("a").last_outcome is None
    assert status("a").missing == ()
    assert status("b").missing == ("a",)


@pytest.mark.parametrize("state", ["CREATED", "QUEUED", "RUNNING", "SKIPPED", "CANCELLED"])
def test_builds_that_did_not_decide_leave_it_not_built(state):
    """original #3: a job with skipped builds only is not called failed"""
    made("a", state)
    assert status("a").status == "not_built"
    assert status("a").running is (state == "RUNNING")


def test_the_skip_is_shown_on_the_job():
    """original #2, #3"""
    skipped = made("a", "SKIPPED", exception_message="nothing new")
    outcome = status("a").last_outcome
    assert (outcome.build_id, outcome.status, outcome.reason) == (
        skipped.pk,
        "SKIPPED",
        "nothing new",
    )


def test_a_job_with_failures_only_is_failed_also_when_the_newest_was_skipped():
    """original #3"""
    made("a", "FAILED", exception_type="ValueError", exception_message="no")
    assert status("a").status == "failed"
    made("a", "SKIPPED")
    assert status("a").status == "failed"


def test_one_success_ever_is_success_and_a_later_failure_is_shown_beside_it():
    """original #3"""
    good = made("a", "SUCCESSFUL")
    failed = made("a", "FAILED", exception_type="ValueError", exception_message="no")
    found = status("a")
    assert found.status == "success"
    assert found.latest_successful_build_id == good.pk
    assert (found.last_outcome.build_id, found.last_outcome.reason) == (failed.pk, "ValueError: no")


def test_running_is_shown_beside_the_status():
    """original #3"""
    made("a", "SUCCESSFUL")
    running = made("a", "RUNNING")
    assert status("a").status == "success"
    assert status("a").running is True
    assert [one.pk for one in status("a").unfinished] == [running.pk]


def test_a_job_is_outdated_when_a_dependency_has_a_newer_success_than_the_one_it_used():
    """original #4"""
    build("a")
    build("b")
    assert status("b").status == "success"
    newer = build("a")
    assert status("b").status == "outdated"
    assert status("b").stale_reasons == (f"newer build #{newer.pk} of a",)
    build("b")
    assert status("b").status == "success"


def test_a_dependency_that_finished_while_we_ran_counts():
    """original #4: end times say nothing, the inputs do"""
    build("a")
    ours = build("b")
    newer = build("a")
    Build.objects.filter(pk=newer.pk).update(end_time=ours.start_time)
    assert status("b").status == "outdated"


def test_failed_and_skipped_builds_of_a_dependency_make_nothing_outdated():
    """original #5"""
    build("a")
    build("b")
    made("a", "FAILED")
    made("a", "SKIPPED")
    made("a", "RUNNING")
    assert status("b").status == "success"


def test_nothing_is_outdated_without_an_own_success_or_one_of_each_dependency():
    """original #4: None there"""
    first = build("a")
    made("b", "FAILED")
    build("a")
    assert status("b").status == "failed"
    build("b")
    delete_build(build=first)
    for one in Build.objects.filter(job_id="a"):
        delete_build(build=one)
    assert status("b").status == "success"
    assert status("b").missing == ("a",)


def test_deleting_the_newest_build_of_a_dependency_makes_dependants_current_again():
    """original #6"""
    build("a")
    build("b")
    newer = build("a")
    assert status("b").status == "outdated"
    delete_build(build=newer)
    assert status("b").status == "success"


def test_deleting_the_build_that_was_used_leaves_dependants_current():
    """original #6"""
    build("a")
    used = build("a")
    build("b")
    delete_build(build=used)
    assert status("b").status == "success"


def test_a_build_pinned_in_the_file_is_not_stale_and_another_pin_is():
    """original #9"""
    old, new = build("a"), build("a")
    pinned = CHAIN.replace("args: [!retval a]", "args: [!retval a], pinned_builds: {a: %d}")
    use_config(pinned % old.pk)
    build("b")
    assert status("b").status == "success"
    use_config(pinned % new.pk)
    assert status("b").stale_reasons == (f"build #{new.pk} of a is pinned now",)


def test_a_changed_configuration_makes_it_outdated_but_other_words_do_not():
    """original #6: the configuration is copied when the build is made"""
    build("a")
    built = build("b")
    use_config(CHAIN.replace("id: b,", "id: b, title: T, tags: [x], notes: n, protect: true,"))
    assert status("b").status == "success"
    use_config(CHAIN.replace("args: [!retval a]", "args: [!retval a, 5]"))
    assert status("b").stale_reasons == (f"configuration changed since build #{built.pk}",)


def test_a_success_without_a_kept_configuration_is_not_called_outdated():
    build("a")
    use_config(CHAIN.replace('odd_jobs:value"}', 'odd_jobs:value", args: [5]}'))
    assert status("a").status == "outdated"
    BuildPayload.objects.all().delete()
    assert status("a").status == "success"


def test_a_configuration_in_other_words_makes_nothing_outdated():
    """The database compares texts; what differs there may still mean the same."""
    use_config(CHAIN.replace('odd_jobs:value"}', 'odd_jobs:value", timeout: 5}'))
    build("a")
    kept = BuildPayload.objects.get()
    kept.config = dict(reversed(kept.config.items()))
    kept.save()
    assert status("a").status == "success"


def test_without_builds_jobs_stand_where_they_do_with_them():
    use_config(LINE)
    for name in "abc":
        build(name)
    made("a", "RUNNING")
    made("d", "FAILED")
    build("b")
    beside = {"last_outcome": None, "unfinished": ()}
    names = list("abcd")
    light, full = statuses_of(names, with_builds=False), statuses_of(names)
    assert light == {name: replace(full[name], **beside) for name in names}
    assert {one.status for one in full.values()} == {"success", "outdated", "failed"}
    assert with_builds_shown(light, names) == full
    made("c", "FAILED")
    # Which one failed last is said without builds only of those that never succeeded.
    light = statuses_of("cd", with_builds=False)
    assert (light["c"].last_failed_build_id, light["d"].status) == (None, "failed")


def test_a_new_dependency_makes_it_outdated():
    build("a")
    use_config(CHAIN.replace("args: [!retval a]", ""))
    build("b")
    use_config(CHAIN.replace("args: [!retval a]", "dependencies: [a]"))
    assert status("b").stale_reasons == ("a is a dependency now",)


def test_a_new_dependency_that_was_never_built_makes_nothing_outdated():
    """original #4: None there"""
    use_config(CHAIN.replace("args: [!retval a]", ""))
    build("b")
    use_config(CHAIN.replace("args: [!retval a]", "dependencies: [a]"))
    assert status("b").status == "success"
    assert status("b").missing == ("a",)


LINE = """
jobs:
  - {id: a, function: "tests.support.odd_jobs:value"}
  - {id: b, function: "tests.support.odd_jobs:value", args: [!retval a]}
  - {id: c, function: "tests.support.odd_jobs:value", args: [!retval b]}
  - {id: d, function: "tests.support.odd_jobs:value", args: [!retval c]}
"""


def test_what_depends_on_an_outdated_job_is_outdated_itself_however_far():
    use_config(LINE)
    for name in "abcd":
        build(name)
    newer = build("a")
    found = job_statuses(Job.objects.active())
    own = {name: one.own_stale_reasons for name, one in found.items()}
    assert own == {"a": (), "b": (f"newer build #{newer.pk} of a",), "c": (), "d": ()}
    assert found["a"].status == "success"
    assert found["b"].stale_reasons == own["b"]
    assert found["c"].stale_reasons == ("b is itself outdated",)
    assert found["d"].stale_reasons == ("c is itself outdated",)
    assert found["d"].status == "outdated"
    # Asked for alone it says the same.
    assert status("d") == found["d"]
    for name in "bcd":
        build(name)
    assert {one.status for one in job_statuses(Job.objects.active()).values()} == {"success"}


def test_own_reasons_stand_before_those_of_dependencies():
    use_config(LINE)
    for name in "abc":
        build(name)
    newer = build("b")
    build("a")
    assert status("c").stale_reasons == (f"newer build #{newer.pk} of b", "b is itself outdated")
    assert status("c").own_stale_reasons == (f"newer build #{newer.pk} of b",)


def test_an_input_that_the_file_pins_does_not_make_outdated():
    use_config(LINE)
    for name in "abcd":
        build(name)
    used = Build.objects.get(job_id="b")
    build("a")
    pinned = LINE.replace("args: [!retval b]", "args: [!retval b], pinned_builds: {b: %d}")
    use_config(pinned % used.pk)
    assert [status(name).status for name in "bcd"] == ["outdated", "success", "success"]


def test_nothing_is_passed_on_where_nothing_can_be_said():
    """original #4: a job that lacks a dependency's success is not outdated, so carries nothing"""
    use_config(LINE)
    for name in "abcd":
        build(name)
    build("a")
    for one in Build.objects.filter(job_id="c"):
        delete_build(build=one)
    assert (status("c").status, status("c").stale_reasons) == ("not_built", ())
    assert (status("d").status, status("d").missing) == ("success", ("c",))


def test_queries_do_not_grow_with_jobs_and_builds(django_assert_num_queries):
    """original #30: 698 queries for 50 jobs"""
    jobs = [
        f"  - {{id: j{n}, function: 'm:f', dependencies: [{'' if n == 0 else f'j{n - 1}'}]}}"
        for n in range(60)
    ]
    use_config("jobs:\n" + "\n".join(jobs))
    for number in range(60):
        for state in ("SUCCESSFUL", "FAILED", "QUEUED"):
            made(f"j{number}", state)
    every = list(Job.objects.active())
    with django_assert_num_queries(4):
        found = job_statuses(every)
    assert len(found) == 60
    assert found["j59"].dependencies == ("j58",)
    assert found["j59"].stale_reasons == ("j58 is a dependency now", "j58 is itself outdated")
    last = Job.objects.get(pk="j59")
    with django_assert_num_queries(4):
        alone = job_status(last)
    assert alone == found["j59"]


def test_a_job_with_very_many_unfinished_builds_shows_the_newest():
    Build.objects.bulk_create(Build(job_id="a", status="QUEUED") for _ in range(50))
    shown = [one.pk for one in status("a").unfinished]
    assert len(shown) == UNFINISHED_SHOWN
    assert shown[0] == Build.objects.latest("pk").pk
