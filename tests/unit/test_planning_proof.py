"""Plans for random graphs, histories and wishes: held to a definition, and carried out."""

import re
from copy import deepcopy
from itertools import combinations

from hypothesis import event, given, settings

from builds.planning import Dependencies, Plan, make_plan, relevant_jobs
from tests.support.histories import Wish, fixed, reaches, users_of_new, wishes

SMALL, LARGE = 6, 10


def planned(wish: Wish) -> Plan:
    return make_plan(wish.target, wish.site.facts(), wish.options, wish.uses)


def names(found) -> set[str]:
    return {one.job_id for one in found}


# --- The oracle: all sets of jobs are looked at, and the smallest is taken that is as the rules say


def subsets(items):
    for size in range(len(items) + 1):
        yield from (set(chosen) for chosen in combinations(items, size))


def open_links(wish: Wish, job: str) -> list[str]:
    return [dep for dep in wish.site.links[job] if fixed(wish, job, dep) is None]


def asked_for(wish: Wish) -> set[str]:
    users = users_of_new(wish)
    ends = users if wish.options.rebuild_all else wish.options.rebuild
    between = {job for job in users for end in ends if job == end or reaches(wish, end, job)}
    return {wish.target, *wish.options.build_now, *between}


def stays_current(wish: Wish, job: str, built: set[str]) -> bool:
    site = wish.site
    return (
        job not in built
        and site.latest(job) is not None
        and not site.own_reasons(job)
        and all(stays_current(wish, dep, built) for dep in open_links(wish, job))
    )


def must_be_built(wish: Wish, dep: str, built: set[str]) -> bool:
    return {
        Dependencies.NONE: False,
        Dependencies.MISSING: wish.site.latest(dep) is None,
        Dependencies.OUTDATED: not stays_current(wish, dep, built),
        Dependencies.ALL: True,
    }[wish.options.dependencies]


def smallest(wish: Wish, asked: set[str]) -> set[str]:
    """The smallest set that has what is asked for, and whatever its jobs need."""
    fitting = [
        built
        for built in subsets(list(wish.site.links))
        if asked <= built
        and all(
            dep in built or not must_be_built(wish, dep, built)
            for job in built
            for dep in open_links(wish, job)
        )
    ]
    least = min(fitting, key=len)
    assert all(least <= other for other in fitting), "the rules have one smallest answer"
    return least


def possible(wish: Wish, built: set[str]) -> set[str]:
    """The most of `built` that can be built with nothing but that and what there is."""
    return max(
        (
            some
            for some in subsets(sorted(built))
            if all(
                job not in wish.site.refusals
                and all(
                    dep in some if dep in built else wish.site.latest(dep) is not None
                    for dep in open_links(wish, job)
                )
                for job in some
            )
        ),
        key=len,
    )


def expected(wish: Wish) -> tuple[set[str], set[str]]:
    """The jobs to build, and those that can't be."""
    asked = asked_for(wish)
    every = smallest(wish, asked)
    can_be = possible(wish, every)
    if wish.target not in can_be:
        return set(), every - can_be
    return smallest(wish, asked & can_be), every - can_be


@settings(deadline=None, max_examples=300)
@given(wishes(SMALL))
def test_a_plan_is_the_smallest_that_the_rules_allow(wish):
    plan = planned(wish)
    event(f"{wish.options.dependencies}, {'blocked' if plan.blocked else 'free'}")
    assert (names(plan.builds), names(plan.blocked)) == expected(wish)


# --- Carried out: each build gets a number and uses what the plan says


def carry_out(wish: Wish, plan: Plan) -> tuple[Wish, dict[str, int]]:
    after = Wish(deepcopy(wish.site), wish.target, wish.options, wish.uses)
    made: dict[str, int] = {}
    for one in plan.builds:
        assert one.job_id not in made, "built once"
        inputs = {
            dep: made[dep] if number is None else number for dep, number in one.inputs.items()
        }
        assert list(inputs) == wish.site.links[one.job_id]
        made[one.job_id] = after.site.build(one.job_id, inputs)
    return after, made


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_each_build_uses_what_is_newest_when_all_are_done(wish):
    after, made = carry_out(wish, planned(wish))
    for job, number in made.items():
        for dep, used in after.site.builds[number][1].items():
            wanted = fixed(wish, job, dep)
            assert used == (after.site.latest(dep) if wanted is None else wanted)


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_what_is_built_after_all_that_was_outdated_is_current(wish):
    after, made = carry_out(wish, planned(wish))
    if wish.options.dependencies not in (Dependencies.OUTDATED, Dependencies.ALL):
        return
    for job in made:
        chosen = [dep for dep in wish.uses if reaches_any_use(wish, job, dep)]
        # A build that somebody chose, or had built in the place of a pin, is none of the newest.
        overruled = wish.options.build_now & wish.site.pinned(wish.target).keys()
        if not chosen and not overruled:
            assert after.site.is_current(job), job


def reaches_any_use(wish: Wish, job: str, dep: str) -> bool:
    links = wish.site.links[job]
    return dep in links or any(reaches_any_use(wish, one, dep) for one in links)


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_without_any_one_of_its_builds_a_plan_would_not_do(wish):
    """Nothing needless: what was not asked for is used by the plan, and was not good as it was."""
    plan = planned(wish)
    built = names(plan.builds)
    for job in built - asked_for(wish):
        assert any(one.inputs.get(job, 0) is None for one in plan.builds), job
        assert must_be_built(wish, job, built - {job}), job


# --- Reasons: every claim is looked up again


def named(text: str, every: list[str]) -> bool:
    """Whether `a, b and 2 more` speaks of just these jobs, and of the first by name."""
    shown, _, more = re.fullmatch(r"([\w, ]+?)( and (\d+) more)?", text).groups()
    return shown.split(", ") == every[:3] and int(more or 0) == max(len(every) - 3, 0)


def reason_is_true(wish: Wish, plan: Plan, job: str, reason: str) -> bool:
    built, inputs = names(plan.builds), {one.job_id: one.inputs for one in plan.builds}
    stale = wish.site.own_reasons(job)
    if reason == "asked for":
        return job == wish.target
    if job in wish.options.build_now:
        return reason == f"to be built now for {wish.target}"
    if reason == "no successful build":
        return wish.site.latest(job) is None
    if reason.startswith("uses "):
        own = [dep for dep in wish.site.links[job] if dep in built and inputs[job][dep] is None]
        used = [dep for dep in own if dep == wish.target or dep in asked_for(wish)]
        followers = users_of_new(wish)
        return named(reason.removeprefix("uses "), [
            dep for dep in used if dep == wish.target or dep in followers
        ] if job in followers else own)  # fmt: skip
    if reason.startswith("used by "):
        users = [user for user in wish.site.links if inputs.get(user, {}).get(job, 0) is None]
        return wish.options.dependencies == "all" and named(reason.removeprefix("used by "), users)
    more = f"; and {len(stale) - 3} more" if len(stale) > 3 else ""
    return bool(stale) and reason == "; ".join(stale[:3]) + more


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_the_reasons_of_builds_are_true(wish):
    plan = planned(wish)
    for one in plan.builds:
        assert reason_is_true(wish, plan, one.job_id, one.reason), (one.job_id, one.reason)
        assert one.protected == (one.job_id in wish.site.protected)
    assert plan.protected == [one.job_id for one in plan.builds if one.protected]


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_the_reasons_of_blocked_jobs_are_true(wish):
    plan = planned(wish)
    blocked, built = names(plan.blocked), names(plan.builds)
    for one in plan.blocked:
        assert plan.why_not(one.job_id) == one.reason
        if one.job_id in wish.site.refusals:
            assert one.reason == wish.site.refusals[one.job_id]
            continue
        links = open_links(wish, one.job_id)
        in_the_way = [dep for dep in links if dep in blocked]
        missing = [
            dep for dep in links
            if dep not in asked_for(wish) and wish.site.latest(dep) is None
            and wish.options.dependencies == Dependencies.NONE
        ]  # fmt: skip
        for part in one.reason.split("; "):
            if part.startswith("no successful build of "):
                assert named(part.removeprefix("no successful build of "), missing)
            else:
                assert named(part.removesuffix(" can't be built"), in_the_way)
        assert len(one.reason.split("; ")) == bool(missing) + bool(in_the_way) > 0
    assert all(plan.why_not(job) == "" for job in built)


@settings(deadline=None, max_examples=150)
@given(wishes(LARGE))
def test_what_is_reused_is_what_the_builds_use_and_its_reasons_are_true(wish):
    plan = planned(wish)
    used = {(dep, number) for one in plan.builds for dep, number in one.inputs.items() if number}
    assert [(one.job_id, one.build_id) for one in plan.reused] == list(
        dict.fromkeys((one.job_id, one.build_id) for one in plan.reused)
    )
    assert {(one.job_id, one.build_id) for one in plan.reused} == used
    for one in plan.reused:
        users = [b.job_id for b in plan.builds if b.inputs.get(one.job_id) == one.build_id]
        if one.reason == "chosen":
            assert wish.uses[one.job_id] == one.build_id
        elif one.reason == "pinned in the file":
            assert any(wish.site.pinned(user).get(one.job_id) == one.build_id for user in users)
        else:
            assert one.reason == "latest success"
            assert wish.site.latest(one.job_id) == one.build_id
            assert any(fixed(wish, user, one.job_id) is None for user in users)


@settings(deadline=None, max_examples=100)
@given(wishes(LARGE))
def test_a_plan_does_not_hang_on_what_it_can_not_speak_of(wish):
    """The facts of `relevant_jobs` are enough."""
    from_all = planned(wish)
    relevant = relevant_jobs(wish.site.links, wish.target)
    facts = wish.site.facts()
    assert relevant == [name for name in facts if name in relevant]
    few = make_plan(wish.target, {name: facts[name] for name in relevant}, wish.options, wish.uses)
    assert names(few.builds) == names(from_all.builds)
    assert names(few.blocked) == names(from_all.blocked)
