"""Asking for plans: all builds at once or none, with their reasons, edges and arming."""

from __future__ import annotations

import pytest

from builds import services
from builds.models import Build, BuildDependency
from builds.plan_models import Plan
from builds.planning import Options
from builds.services import inputs
from jobcontrol.exceptions import BuildStateError, InvalidRequest, MissingDependencies, ProtectedJob
from jobs.models import Job
from tests.support.jobs import build, use_config
from tests.support.plans import ALL, DIAMOND, MISSING, OUTDATED, ask, run, states

pytestmark = pytest.mark.django_db(transaction=True)


def edges(made: Build) -> dict[str, str]:
    links = BuildDependency.objects.filter(build=made).select_related("dep_build")
    assert all(link.dep_build_number == link.dep_build_id for link in links)
    return {link.job_id: link.dep_build.status for link in links}


def test_a_plan_is_recorded_as_a_whole():
    use_config(DIAMOND)
    target = ask("d", MISSING)
    plan = target.plan
    assert plan is not None
    made = list(plan.builds.order_by("pk"))
    assert [one.job_id for one in made] == ["a", "b", "c", "d"]
    assert [one.status for one in made] == ["QUEUED", "WAITING", "WAITING", "WAITING"]
    assert edges(target) == {"b": "WAITING", "c": "WAITING"}
    assert [one.plan_reason for one in made] == ["no successful build"] * 3 + ["asked for"]
    assert [one.trigger for one in made] == ["dependency"] * 3 + ["python"]
    assert plan.job_id == "d"
    assert plan.wish["dependencies"] == "missing"


def test_values_pass_along_a_plan():
    use_config(DIAMOND)
    target = ask("e")
    ran = run()
    assert ran[0] == "a"
    assert sorted(ran[1:3]) == ["b", "c"]
    assert ran[3:] == ["d", "e"]
    target.refresh_from_db()
    assert target.payload.retval_text == "'e(d(b(a), c(a)))'"


def test_what_needs_one_build_is_no_plan():
    use_config(DIAMOND)
    build("a")
    target = ask("b", OUTDATED)
    assert target.plan is None
    assert not Plan.objects.exists()
    assert target.status == "QUEUED"


def test_what_is_current_is_used_as_it_is():
    use_config(DIAMOND)
    used = build("a")
    target = ask("d", MISSING)
    assert list(target.plan.builds.order_by("pk").values_list("job_id", flat=True)) == list("bcd")
    for one in target.plan.builds.filter(job__in=["b", "c"]):
        assert one.status == "QUEUED"
        assert one.inputs.get().dep_build_id == used.pk


def test_nothing_is_recorded_when_the_target_is_blocked():
    use_config(DIAMOND)
    with pytest.raises(InvalidRequest) as refusal:
        ask("d", Options(build_now=frozenset({"b"})))
    assert str(refusal.value) == (
        "job 'd' can't be built: 'b': no successful build of a; "
        "'d': no successful build of c; b can't be built."
    )
    assert not Build.objects.exists()
    assert not Plan.objects.exists()


def test_a_wrong_pin_and_a_stranger_are_refused():
    use_config(DIAMOND)
    number = build("a").pk
    with pytest.raises(InvalidRequest, match=rf"#{number} is not a successful build of 'b'"):
        ask("d", ALL, dependency_builds={"b": number})
    with pytest.raises(InvalidRequest, match="'d' does not depend on 'a'"):
        ask("d", ALL, dependency_builds={"a": number})


def test_what_is_built_now_needs_no_good_pin_in_the_file():
    use_config(DIAMOND.replace("{id: e,", "{id: e, pinned_builds: {d: 999},"))
    with pytest.raises(InvalidRequest, match="#999 is not a successful build of 'd'"):
        ask("e", ALL)
    target = ask("e", Options(dependencies=ALL.dependencies, build_now=frozenset({"d"})))
    assert target.inputs.get().dep_build == target.plan.builds.get(job="d")


def test_a_pin_is_used_by_the_whole_plan():
    use_config(DIAMOND)
    for name in "abc":
        build(name)
    old = Build.objects.get(job="b").pk
    build("b")
    target = ask("d", ALL, dependency_builds={"b": old})
    assert target.inputs.get(job="b").dep_build_id == old
    assert states(target.plan) == {"a": "QUEUED", "c": "WAITING", "d": "WAITING"}


def test_reverse_dependencies_follow():
    use_config(DIAMOND)
    for name in "abcde":
        build(name)
    target = ask("b", Options(rebuild=frozenset({"e"})))
    assert states(target.plan) == {"b": "QUEUED", "d": "WAITING", "e": "WAITING"}
    assert run() == ["b", "d", "e"]


def test_an_input_that_the_plan_uses_cannot_go():
    use_config(DIAMOND)
    used = build("a")
    ask("d", MISSING)
    with pytest.raises(BuildStateError, match="unfinished builds need it"):
        services.request_deletion(build=used)
    waiting = Build.objects.get(job="b")
    with pytest.raises(BuildStateError, match="unfinished builds need it"):
        services.request_deletion(build=waiting)


@pytest.mark.parametrize(
    ("where", "options"), [("requests", Options()), ("plans", Options(rebuild_all=True))]
)
def test_an_input_that_goes_at_that_very_moment_is_named(monkeypatch, where, options):
    use_config(DIAMOND)
    used, _newer = build("a"), build("a")

    def delete_first(wanted):
        services.request_deletion(build=used)
        inputs.lock_inputs(wanted)

    monkeypatch.setattr(f"builds.services.{where}.lock_inputs", delete_first)
    with pytest.raises(BuildStateError, match=f"with build #{used.pk} of 'a': deleted meanwhile"):
        ask("b", options, dependency_builds={"a": used.pk})
    assert not Build.objects.exclude(job="a").exists()


PROTECTED = DIAMOND.replace("{id: a,", "{id: a, protected: true,")


def test_a_protected_job_anywhere_in_the_plan_has_to_be_armed():
    use_config(PROTECTED.replace("{id: b,", "{id: b, protected: true,"))
    with pytest.raises(ProtectedJob, match="jobs 'a', 'b' are protected"):
        ask("d", MISSING)
    assert not Build.objects.exists()
    target = ask("d", MISSING, arm=True)
    armed = {one.job_id: one.armed for one in target.plan.builds.all()}
    assert armed == {"a": True, "b": True, "c": False, "d": False}
    assert len(run()) == 4


def test_the_same_nonce_gives_the_same_plan():
    use_config(DIAMOND)
    first = ask("d", MISSING, nonce="one")
    again = ask("d", MISSING, nonce="one")
    assert (again.pk, again.asked_before) == (first.pk, True)
    assert Plan.objects.count() == 1
    assert Build.objects.count() == 4


def test_other_arguments_are_the_targets_alone():
    use_config(DIAMOND)
    target = ask("b", MISSING, args=["other"])
    run()
    target.refresh_from_db()
    assert target.payload.retval_text == "'other'"
    assert Build.objects.get(job="a").payload.retval_text == "'a'"


@pytest.mark.parametrize("count", [30, 300])
def test_the_statements_of_a_plan_do_not_grow_with_it(count, django_assert_max_num_queries):
    links = "".join(
        f"  - {{id: j{n}, function: 'tests.support.plan_jobs:join', dependencies: [j{n - 1}]}}\n"
        for n in range(1, count)
    )
    use_config("jobs:\n  - {id: j0, function: 'tests.support.plan_jobs:join'}\n" + links)
    with django_assert_max_num_queries(40):
        target = ask(f"j{count - 1}")
    assert target.plan.builds.count() == count


def test_a_missing_input_without_options_is_told_as_before():
    use_config(DIAMOND)
    with pytest.raises(MissingDependencies):
        services.request_build(job=Job.objects.get(pk="d"), trigger="python")
