"""Random jobs with their builds, and what is planned for them: a site without a database.

What is outdated is said here by its definition, apart from `builds.status` and `builds.planning`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from builds.planning import Dependencies, JobFacts, Options


@dataclass
class Site:
    """Jobs by id, in the order of the file, and their successful builds by number."""

    links: dict[str, list[str]]
    pins: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    builds: dict[int, tuple[str, dict[str, int]]] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    last_number: int = 0

    def latest(self, job: str) -> int | None:
        """Return the newest success of a job."""
        return max((n for n, (name, _) in self.builds.items() if name == job), default=None)

    def pinned(self, job: str) -> dict[str, int]:
        """Return the builds that the file names for a job's dependencies."""
        return self.pins.get(job, {})

    def build(self, job: str, inputs: dict[str, int]) -> int:
        """Record a success."""
        self.last_number += 1
        self.builds[self.last_number] = (job, inputs)
        self.edited.discard(job)
        return self.last_number

    def own_reasons(self, job: str) -> list[str]:
        """Say why the newest success of a job is outdated by itself."""
        newest = self.latest(job)
        unpinned = [dep for dep in self.links[job] if dep not in self.pinned(job)]
        if newest is None or any(self.latest(dep) is None for dep in unpinned):
            return []
        used = self.builds[newest][1]
        found = []
        for dep in self.links[job]:
            pin = self.pinned(job).get(dep)
            if pin is not None and used.get(dep) != pin:
                found.append(f"build #{pin} of {dep} is pinned now")
            elif pin is None and dep not in used:
                found.append(f"{dep} is a dependency now")
            elif pin is None and self.latest(dep) > used[dep]:
                found.append(f"newer build #{self.latest(dep)} of {dep}")
        return [*found, "configuration changed"] if job in self.edited else found

    def is_current(self, job: str) -> bool:
        """Whether a job has a success that is not outdated, nor anything that it would use."""
        return (
            self.latest(job) is not None
            and not self.own_reasons(job)
            and all(self.is_current(dep) for dep in self.links[job] if dep not in self.pinned(job))
        )

    def facts(self) -> dict[str, JobFacts]:
        """Return what a plan is made from."""
        return {
            name: JobFacts(
                dependencies=tuple(deps),
                latest=self.latest(name),
                stale=tuple(self.own_reasons(name)),
                pins=self.pinned(name),
                protected=name in self.protected,
                refusal=self.refusals.get(name, ""),
            )
            for name, deps in self.links.items()
        }


@dataclass(frozen=True)
class Wish:
    """What is asked of a site."""

    site: Site
    target: str
    options: Options
    uses: dict[str, int]


DEPENDENCIES = 3  # of a job, about


def rarely(draw: st.DrawFn, times: int = 4) -> bool:
    """Draw one case of so many."""
    return draw(st.integers(1, times)) == times


@st.composite
def sites(draw: st.DrawFn, max_jobs: int) -> Site:
    """Draw jobs, a history of their builds, and what became of both since."""
    count = draw(st.integers(1, max_jobs)) if rarely(draw) else max_jobs
    names = [f"j{n}" for n in range(count)]  # each depends on earlier ones only
    links = {
        name: [dep for dep in names[:n] if draw(st.integers(0, count)) < DEPENDENCIES]
        for n, name in enumerate(names)
    }
    site = Site({name: links[name] for name in draw(st.permutations(names))})
    every = [] if rarely(draw) else names  # a history mostly begins with a build of each
    for name in every + draw(st.lists(st.sampled_from(names), min_size=count // 2, max_size=count)):
        known = [dep for dep in links[name] if not rarely(draw, 9)]
        latest = {dep: site.latest(dep) for dep in known}
        site.build(name, {dep: number for dep, number in latest.items() if number is not None})
    for name in names:
        for dep in links[name]:
            successes = [n for n, (job, _) in site.builds.items() if job == dep]
            if successes and rarely(draw, 6):
                site.pins.setdefault(name, {})[dep] = draw(st.sampled_from(successes))
    changed = draw(st.sets(st.sampled_from(names), max_size=2))
    if draw(st.booleans()):
        for number in draw(st.sets(st.sampled_from([*site.builds, 0]), max_size=4)):
            site.builds.pop(number, None)
    site.edited = {name for name in changed if site.latest(name) is not None}
    if rarely(draw, 2):
        refused = draw(st.sets(st.sampled_from(names), max_size=2))
        site.refusals = {name: f"{name} is broken" for name in refused}
    site.protected = draw(st.sets(st.sampled_from(names)))
    return site


@st.composite
def wishes(draw: st.DrawFn, max_jobs: int) -> Wish:
    """Draw a site and something that may be asked of it."""
    site = draw(sites(max_jobs))
    target = draw(st.sampled_from(sorted(site.links, key=lambda name: -len(site.links[name]))))
    uses, build_now = {}, set()
    for dep in site.links[target]:
        choice = draw(st.sampled_from(["default", "default", "now", "number"]))
        successes = [number for number, (job, _) in site.builds.items() if job == dep]
        if choice == "now":
            build_now.add(dep)
        elif choice == "number" and successes:
            uses[dep] = draw(st.sampled_from(successes))
    plain = Wish(site, target, Options(build_now=frozenset(build_now)), uses)
    rebuild = draw(st.sets(st.sampled_from([target, *users_of_new(plain)])))
    options = Options(
        dependencies=draw(st.sampled_from([*Dependencies, *[Dependencies.OUTDATED] * 3])),
        rebuild=frozenset(rebuild - {target}),
        rebuild_all=draw(st.booleans()),
        build_now=frozenset(build_now),
    )
    return Wish(site, target, options, uses)


def fixed(wish: Wish, job: str, dep: str) -> int | None:
    """Return the build that a job uses of a dependency whatever is built, None for the newest."""
    if job != wish.target:
        return wish.site.pinned(job).get(dep, wish.uses.get(dep))
    if dep in wish.options.build_now:
        return None
    return wish.uses.get(dep, wish.site.pinned(job).get(dep))


def reaches(wish: Wish, job: str, goal: str) -> bool:
    """Whether a new build of `goal` is used by a new build of `job`, directly or not."""
    deps = [dep for dep in wish.site.links[job] if fixed(wish, job, dep) is None]
    return goal in deps or any(reaches(wish, dep, goal) for dep in deps)


def users_of_new(wish: Wish) -> list[str]:
    """Return the jobs that a new build of the target would change."""
    return [job for job in wish.site.links if reaches(wish, job, wish.target)]
