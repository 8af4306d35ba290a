"""Resuming: what failed and what hung on it is built again, what succeeded is used."""

from __future__ import annotations

import pytest

from builds import services
from builds.models import Build
from builds.plan_models import Plan
from builds.plan_status import plan_statuses
from builds.planning import Options
from jobcontrol.exceptions import BuildStateError, InvalidRequest, MissingDependencies, ProtectedJob
from tests.support.jobs import build, use_config
from tests.support.plans import DIAMOND, MISSING, ask, run, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failed(monkeypatch) -> Plan:
    """A plan of `e` in which `b` failed."""
    use_config(DIAMOND)
    monkeypatch.setenv("PLAN_FAILS", "b")
    plan = ask("e", MISSING).plan
    run()
    monkeypatch.setenv("PLAN_FAILS", "")
    assert plan_statuses([plan])[plan.pk].state == "failed"
    return plan


def resume(plan: Plan, **options) -> Plan:
    return services.resume_plan(plan=plan, trigger="python", **options).plan


def test_what_failed_is_built_again_with_what_succeeded(failed):
    used = {one.job_id: one.pk for one in failed.builds.filter(status="SUCCESSFUL")}
    again = resume(failed)
    assert again.resumes == failed
    assert states(again) == {"b": "QUEUED", "d": "WAITING", "e": "WAITING"}
    b, d = (again.builds.get(job=name) for name in "bd")
    assert b.inputs.get().dep_build_id == used["a"]
    assert d.inputs.get(job="c").dep_build_id == used["c"]
    assert b.plan_reason == f"build #{failed.builds.get(job='b').pk} failed"
    assert run() == ["b", "d", "e"]
    assert again.builds.get(job="e").payload.retval_text == "'e(d(b(a), c(a)))'"
    assert plan_statuses([again])[again.pk].state == "success"


def test_newer_builds_elsewhere_change_nothing(failed):
    used = failed.builds.get(job="a").pk
    build("a")
    assert resume(failed).builds.get(job="b").inputs.get().dep_build_id == used


def test_an_input_that_went_is_replaced_by_the_latest(failed):
    newer = build("a")
    Build.objects.filter(pk=failed.builds.get(job="a").pk).delete()
    assert resume(failed).builds.get(job="b").inputs.get().dep_build_id == newer.pk


def test_an_input_that_went_without_another_is_told(failed):
    Build.objects.filter(job="a").delete()
    with pytest.raises(MissingDependencies, match="job 'b' can't be built: no successful .* 'a'"):
        resume(failed)
    assert Plan.objects.count() == 1


def test_what_was_built_in_the_place_of_a_pin_is_so_again(monkeypatch):
    use_config(DIAMOND)
    old = [build(name) for name in "abcd"][-1]
    use_config(DIAMOND.replace("{id: e,", f"{{id: e, pinned_builds: {{d: {old.pk}}},"))
    monkeypatch.setenv("PLAN_FAILS", "d")
    plan = ask("e", Options(build_now=frozenset({"d"}))).plan
    run()
    again = resume(plan)
    assert again.builds.get(job="e").inputs.get().dep_build == again.builds.get(job="d")


def test_a_retry_that_succeeded_after_its_user_had_failed_is_used(monkeypatch):
    use_config(DIAMOND.replace("{id: b,", "{id: b, priority: -1, retries: 1,"))
    monkeypatch.setenv("PLAN_FAILS", "b c")
    plan = ask("d", MISSING).plan
    assert run(3) == ["a", "c", "b"]
    monkeypatch.setenv("PLAN_FAILS", "")
    assert run() == ["b"]
    assert states(plan) == {
        "a": "SUCCESSFUL", "b": "SUCCESSFUL", "c": "FAILED", "d": "FAILED"
    }  # fmt: skip
    used = plan.builds.filter(job="b").order_by("pk").last()
    build("b")
    again = resume(plan)
    assert states(again) == {"c": "QUEUED", "d": "WAITING"}
    assert again.builds.get(job="d").inputs.get(job="b").dep_build == used


def test_it_is_resumed_once(failed):
    again = resume(failed)
    with pytest.raises(BuildStateError, match=f"was resumed before, as plan {again.pk}"):
        resume(failed)


def test_a_plan_that_has_not_ended_is_not_resumed():
    use_config(DIAMOND)
    plan = ask("b", MISSING).plan
    with pytest.raises(BuildStateError, match="has not ended"):
        resume(plan)


def test_a_plan_that_succeeded_is_not_resumed():
    use_config(DIAMOND)
    plan = ask("b", MISSING).plan
    run()
    with pytest.raises(BuildStateError, match="all of it succeeded"):
        resume(plan)


def test_of_a_plan_of_which_builds_were_deleted_no_success_is_claimed(failed):
    failed.builds.exclude(status="SUCCESSFUL").delete()
    with pytest.raises(BuildStateError, match="others were deleted, and the rest succeeded"):
        resume(failed)
    failed.builds.all().delete()
    with pytest.raises(BuildStateError, match="its builds were deleted"):
        resume(failed)


def test_a_cancelled_plan_is_resumed_whole():
    use_config(DIAMOND)
    plan = ask("b", MISSING).plan
    services.cancel_plan(plan=plan)
    assert plan_statuses([plan])[plan.pk].state == "cancelled"
    again = resume(plan)
    assert run() == ["a", "b"]
    assert plan_statuses([again])[again.pk].state == "success"


def test_the_configuration_of_now_is_used_with_the_arguments_of_then(monkeypatch):
    use_config(DIAMOND)
    monkeypatch.setenv("PLAN_FAILS", "a")
    plan = ask("b", MISSING, args=["mine"]).plan
    run()
    monkeypatch.setenv("PLAN_FAILS", "")
    use_config(DIAMOND.replace("args: [a]", "args: [changed]"))
    again = resume(plan)
    run()
    assert again.builds.get(job="a").payload.retval_text == "'changed'"
    assert again.builds.get(job="b").payload.retval_text == "'mine'"


def test_a_protected_job_is_armed_again(monkeypatch):
    use_config(DIAMOND.replace("{id: a,", "{id: a, protected: true,"))
    monkeypatch.setenv("PLAN_FAILS", "a")
    plan = ask("b", MISSING, arm=True).plan
    run()
    with pytest.raises(ProtectedJob, match="'a'"):
        resume(plan)
    assert resume(plan, arm=True).builds.get(job="a").armed


def test_a_job_that_left_the_file_stops_it(failed):
    use_config(DIAMOND[: DIAMOND.index("  - {id: e")])
    with pytest.raises(InvalidRequest, match="'e'"):
        resume(failed)
