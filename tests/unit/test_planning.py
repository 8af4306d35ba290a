"""Plans by example: each option, each reason, what is blocked, and very large graphs."""

import pytest

from builds.planning import (
    BlockedJob,
    Dependencies,
    JobFacts,
    Options,
    Plan,
    ReusedBuild,
    make_plan,
    relevant_jobs,
)
from jobcontrol.exceptions import InvalidRequest

MISSING, OUTDATED, ALL = Dependencies.MISSING, Dependencies.OUTDATED, Dependencies.ALL


def job(*dependencies, latest=None, **facts):
    return JobFacts(dependencies=dependencies, latest=latest, **facts)


# crawl → clean → report → mail, and prices → report
SHOP = {
    "mail": job("report", latest=5),
    "report": job("clean", "prices", latest=4),
    "clean": job("crawl", latest=2),
    "crawl": job(latest=1),
    "prices": job(latest=3),
}


def site(**changed):
    """SHOP, with other facts of some jobs."""
    return {name: changed.get(name, facts) for name, facts in SHOP.items()}


def builds(plan):
    return [(one.job_id, one.reason) for one in plan.builds]


def test_without_options_the_target_alone_is_built_from_the_latest_successes():
    plan = make_plan("report", SHOP, Options())
    assert builds(plan) == [("report", "asked for")]
    assert plan.builds[0].inputs == {"clean": 2, "prices": 3}
    assert plan.reused == (
        ReusedBuild("clean", 2, "latest success"),
        ReusedBuild("prices", 3, "latest success"),
    )
    assert (plan.target, plan.blocked, plan.protected) == ("report", (), [])


def test_missing_dependencies_are_built_and_outdated_ones_reused():
    facts = site(
        clean=job("crawl"), crawl=job(), prices=job(latest=3, stale=["configuration changed"])
    )
    plan = make_plan("report", facts, Options(MISSING))
    assert builds(plan) == [
        ("crawl", "no successful build"),
        ("clean", "no successful build"),
        ("report", "asked for"),
    ]
    assert [one.inputs for one in plan.builds] == [
        {},
        {"crawl": None},
        {"clean": None, "prices": 3},
    ]
    assert plan.reused == (ReusedBuild("prices", 3, "latest success"),)


def test_what_is_missing_behind_a_success_is_not_needed():
    plan = make_plan("report", site(crawl=job()), Options(MISSING))
    assert builds(plan) == [("report", "asked for")]


def test_outdated_dependencies_are_built_with_their_reasons_and_what_uses_them():
    why = ["a changed", "b changed", "c changed", "d changed", "e changed"]
    facts = site(crawl=job(latest=1, stale=why[:2]), prices=job(latest=3, stale=why))
    plan = make_plan("report", facts, Options(OUTDATED))
    assert builds(plan) == [
        ("crawl", "a changed; b changed"),
        ("clean", "uses crawl"),
        ("prices", "a changed; b changed; c changed; and 2 more"),
        ("report", "asked for"),
    ]
    assert plan.reused == ()


def test_the_reason_names_only_what_is_built_before():
    plan = make_plan("mail", site(crawl=job(latest=1, stale=["x"])), Options(OUTDATED))
    assert ("report", "uses clean") in builds(plan)


def test_outdated_includes_what_is_missing_however_far_away():
    plan = make_plan("report", site(crawl=job()), Options(OUTDATED))
    assert builds(plan) == [
        ("crawl", "no successful build"),
        ("clean", "uses crawl"),
        ("report", "asked for"),
    ]


def test_nothing_is_built_first_when_all_is_current():
    assert builds(make_plan("report", SHOP, Options(OUTDATED))) == [("report", "asked for")]


def test_all_dependencies_are_built_whatever_their_state():
    facts = site(crawl=job(latest=1, stale=["configuration changed"]), prices=job())
    assert builds(make_plan("report", facts, Options(ALL))) == [
        ("crawl", "used by clean"),
        ("clean", "used by report"),
        ("prices", "no successful build"),
        ("report", "asked for"),
    ]


def test_a_reason_names_three_jobs_and_counts_the_others():
    names = ["a", "b", "c", "d", "e"]
    facts = {name: job("base", latest=2) for name in names}
    facts |= {"base": job(latest=1), "end": job(*names, latest=3)}
    plan = make_plan("end", facts, Options(ALL))
    assert plan.builds[0].reason == "used by a, b, c and 2 more"
    plan = make_plan("base", facts, Options(rebuild_all=True))
    assert plan.builds[-1].reason == "uses a, b, c and 2 more"


def test_reverse_dependencies_are_rebuilt_all_or_those_chosen_with_those_between():
    plan = make_plan("crawl", SHOP, Options(rebuild_all=True))
    assert builds(plan) == [
        ("crawl", "asked for"),
        ("clean", "uses crawl"),
        ("report", "uses clean"),
        ("mail", "uses report"),
    ]
    assert plan.reused == (ReusedBuild("prices", 3, "latest success"),)
    plan = make_plan("crawl", SHOP, Options(rebuild=frozenset({"report"})))
    assert [one.job_id for one in plan.builds] == ["crawl", "clean", "report"]
    plan = make_plan("crawl", SHOP, Options())
    assert [one.job_id for one in plan.builds] == ["crawl"]


def test_options_hold_for_what_is_rebuilt_too():
    plan = make_plan("clean", site(prices=job()), Options(MISSING, rebuild_all=True))
    assert builds(plan)[1:3] == [("prices", "no successful build"), ("report", "uses clean")]


def test_a_dependency_can_be_built_now_and_what_it_changes_is_outdated():
    plan = make_plan("report", SHOP, Options(build_now=frozenset({"prices"})))
    assert builds(plan) == [("prices", "to be built now for report"), ("report", "asked for")]
    assert plan.builds[1].inputs == {"clean": 2, "prices": None}
    facts = {"a": job(latest=1), "b": job("a", latest=2), "c": job("a", "b", latest=3)}
    plan = make_plan("c", facts, Options(OUTDATED, build_now=frozenset({"a"})))
    assert builds(plan)[1] == ("b", "uses a")


def test_a_build_that_the_file_pins_is_used_and_nothing_is_built_for_it():
    facts = site(report=job("clean", "prices", latest=4, pins={"clean": 1}), clean=job("crawl"))
    for options in (Options(), Options(MISSING), Options(OUTDATED), Options(ALL)):
        plan = make_plan("report", facts, options)
        assert "clean" not in [one.job_id for one in plan.builds]
        assert plan.builds[-1].inputs["clean"] == 1
        assert ReusedBuild("clean", 1, "pinned in the file") in plan.reused


def test_what_the_file_pins_makes_no_dependency_outdated():
    facts = site(clean=job("crawl", latest=2, pins={"crawl": 1}), crawl=job(latest=9, stale=["x"]))
    assert builds(make_plan("report", facts, Options(OUTDATED))) == [("report", "asked for")]


def test_what_pins_an_older_build_is_not_rebuilt():
    facts = site(report=job("clean", "prices", latest=4, pins={"clean": 1}))
    plan = make_plan("crawl", facts, Options(rebuild_all=True))
    assert [one.job_id for one in plan.builds] == ["crawl", "clean"]


def test_a_chosen_build_goes_before_the_pin_and_nothing_is_built_for_it():
    facts = site(
        report=job("clean", "prices", latest=4, pins={"clean": 1}),
        clean=job("crawl", latest=9, stale=["x"]),
    )
    plan = make_plan("report", facts, Options(ALL), {"clean": 2})
    assert builds(plan) == [("prices", "used by report"), ("report", "asked for")]
    assert plan.builds[1].inputs == {"clean": 2, "prices": None}
    assert plan.reused == (ReusedBuild("clean", 2, "chosen"),)


def test_a_chosen_build_is_used_by_other_builds_of_the_plan_but_not_against_their_pins():
    facts = {
        "a": job(latest=9),
        "b": job("a", latest=2),
        "c": job("a", "b", latest=3, pins={"a": 5}),
        "d": job("a", "b", latest=4),
    }
    plan = make_plan("b", facts, Options(rebuild_all=True), {"a": 7})
    assert {one.job_id: one.inputs["a"] for one in plan.builds} == {"b": 7, "c": 5, "d": 7}
    assert plan.reused == (
        ReusedBuild("a", 5, "pinned in the file"),
        ReusedBuild("a", 7, "chosen"),
    )


def test_a_dependency_that_is_built_now_is_used_in_the_place_of_the_pin_by_the_target_alone():
    facts = {
        "a": job(latest=9),
        "b": job("a", latest=2, pins={"a": 5}),
        "c": job("a", "b", latest=3, pins={"a": 6}),
    }
    options = Options(build_now=frozenset({"a"}), rebuild_all=True)
    plan = make_plan("b", facts, options)
    assert {one.job_id: one.inputs for one in plan.builds} == {
        "a": {},
        "b": {"a": None},
        "c": {"a": 6, "b": None},
    }


def test_builds_of_protected_jobs_are_marked():
    plan = make_plan("report", site(crawl=job(protected=True)), Options(ALL))
    assert plan.protected == ["crawl"]
    assert [one.protected for one in plan.builds] == [True, False, False, False]


# --- Blocked


def test_nothing_is_built_when_the_target_lacks_a_dependency():
    plan = make_plan("report", site(clean=job("crawl"), prices=job()), Options())
    assert plan == Plan(
        "report", blocked=(BlockedJob("report", "no successful build of clean, prices"),)
    )
    assert plan.why_not("report") == "no successful build of clean, prices"
    assert plan.why_not("clean") == ""


def test_what_could_be_built_is_not_when_the_target_is_blocked():
    options = Options(MISSING, build_now=frozenset({"prices"}), rebuild_all=True)
    plan = make_plan("report", site(report=job("clean", "prices", refusal="x")), options)
    assert (plan.builds, plan.reused) == ((), ())
    assert plan.blocked == (
        BlockedJob("report", "x"),
        BlockedJob("mail", "report can't be built"),
    )


def test_what_can_not_be_built_blocks_all_that_needs_it():
    facts = site(crawl=job(refusal="it is retired"))
    plan = make_plan("report", facts, Options(OUTDATED))
    assert (plan.builds, plan.reused) == ((), ())
    assert plan.blocked == (
        BlockedJob("crawl", "it is retired"),
        BlockedJob("clean", "crawl can't be built"),
        BlockedJob("report", "clean can't be built"),
    )


def test_a_blocked_job_names_all_that_stands_in_its_way():
    facts = site(prices=job(), clean=job("crawl", latest=2, refusal="no such function"))
    plan = make_plan("report", facts, Options(build_now=frozenset({"clean"})))
    assert plan.why_not("report") == "no successful build of prices; clean can't be built"


def test_a_blocked_reverse_dependency_leaves_the_others():
    facts = {
        "other": job("base", latest=2),
        "broken": job("base", "side", latest=3),
        "after": job("broken", latest=4),
        "base": job(latest=1),
        "side": job("deep", refusal="it is retired"),
        "deep": job(),
    }
    plan = make_plan("base", facts, Options(MISSING, rebuild_all=True))
    assert builds(plan) == [("base", "asked for"), ("other", "uses base")]
    assert plan.blocked == (
        BlockedJob("side", "it is retired"),
        BlockedJob("broken", "side can't be built"),
        BlockedJob("after", "broken can't be built"),
    )


def test_what_pins_a_build_of_a_blocked_job_is_built():
    facts = {
        "base": job(latest=1),
        "side": job(refusal="it is retired"),
        "user": job("base", "side", latest=2),
        "pinning": job("base", "side", latest=3, pins={"side": 7}),
    }
    plan = make_plan("base", facts, Options(MISSING, rebuild_all=True))
    assert [one.job_id for one in plan.builds] == ["base", "pinning"]
    assert [one.job_id for one in plan.blocked] == ["side", "user"]


def test_a_refusal_of_a_job_that_is_not_built_is_no_matter():
    plan = make_plan("report", site(crawl=job(latest=1, refusal="x")), Options(OUTDATED))
    assert builds(plan) == [("report", "asked for")]


# --- Wishes that don't fit


def test_all_names_that_do_not_fit_are_told_at_once():
    options = Options(
        rebuild=frozenset({"crawl", "report", "nobody", "mail"}),
        build_now=frozenset({"prices", "crawl", "zoo"}),
    )
    with pytest.raises(InvalidRequest) as caught:
        make_plan("report", SHOP, options, {"mail": 1, "prices": 2, "crawl": 3})
    assert str(caught.value) == (
        "job 'report' does not depend on 'mail'; "
        "job 'report' does not depend on 'crawl'; "
        "job 'report' does not depend on 'zoo'; "
        "'crawl' can't be both built now and used as build #3; "
        "'prices' can't be both built now and used as build #2; "
        "a new build of 'report' is not used by 'crawl'; "
        "a new build of 'report' is not used by 'nobody'; "
        "a new build of 'report' is not used by 'report'."
    )


def test_what_pins_an_older_build_of_the_target_can_not_be_rebuilt_for_it():
    facts = site(report=job("clean", "prices", latest=4, pins={"clean": 1}))
    with pytest.raises(InvalidRequest, match="a new build of 'clean' is not used by 'mail'"):
        make_plan("clean", facts, Options(rebuild=frozenset({"mail"})))


def test_only_options_that_add_builds_are_not_plain():
    assert Options().are_plain
    for options in (
        Options(MISSING),
        Options(rebuild_all=True),
        Options(rebuild=frozenset({"a"})),
        Options(build_now=frozenset({"a"})),
    ):
        assert not options.are_plain


# --- Large graphs


def test_relevant_are_what_uses_the_target_and_what_any_of_these_needs():
    links = {
        "far": ["mail"], "mail": ["report"], "report": ["clean", "prices"], "prices": ["list"],
        "clean": [], "list": [], "alone": [], "user of list": ["list"],
    }  # fmt: skip
    assert relevant_jobs(links, "clean") == ["far", "mail", "report", "prices", "clean", "list"]
    assert relevant_jobs(links, "alone") == ["alone"]


class Counted(str):
    """A name that counts how often it is compared or looked up."""

    __slots__ = ()
    uses = 0

    def __hash__(self):
        Counted.uses += 1
        return str.__hash__(self)

    def __eq__(self, other):
        Counted.uses += 1
        return str.__eq__(self, other)


def chain(count):
    names = [Counted(f"j{n}") for n in range(count)]
    facts = {names[0]: job()}
    facts |= {name: job(before) for before, name in zip(names, names[1:], strict=False)}
    return facts, names[-1], names[0]


def fan(count):
    names = [Counted(f"j{n}") for n in range(count)]
    base, end = Counted("base"), Counted("end")
    return {end: job(*names), base: job(), **{name: job(base) for name in names}}, end, base


@pytest.mark.parametrize("shape", [chain, fan])
@pytest.mark.parametrize(
    ("of_last", "options"),
    [
        (True, Options(MISSING)),
        (True, Options(OUTDATED)),
        (True, Options(ALL)),
        (False, Options(OUTDATED, rebuild_all=True)),
        (False, Options(rebuild=frozenset({"j9", "j900"}))),
    ],
)
def test_the_work_grows_with_the_graph_and_no_faster(shape, of_last, options):
    def work(count):
        facts, last, first = shape(count)
        target = last if of_last else first
        Counted.uses = 0
        relevant = relevant_jobs({name: one.dependencies for name, one in facts.items()}, target)
        plan = make_plan(target, facts, options)
        assert len(relevant) == len(facts)
        assert plan.builds
        if options.rebuild == frozenset():
            assert len(plan.builds) == len(facts)
        return Counted.uses

    assert work(10_000) < 12 * work(1_000)


def test_a_block_at_the_far_end_of_very_many_jobs_is_found():
    facts, last, first = chain(10_000)
    facts[first] = job(refusal="it is retired")
    plan = make_plan(last, facts, Options(MISSING))
    assert len(plan.blocked) == 10_000
    assert not plan.builds
