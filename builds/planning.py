"""From a target to the builds that make it current: pure, without a database.

A plan says which jobs are built, in an order in which each comes after what it uses, why each of
them, which builds are used as they are, and which jobs can't be built and why.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jobcontrol.exceptions import InvalidRequest
from jobs import graph

NAMED = 3  # jobs or reasons that a reason names


class Dependencies(enum.StrEnum):
    """Which dependencies are built before the target; OUTDATED has the missing ones too."""

    NONE = "none"
    MISSING = "missing"
    OUTDATED = "outdated"
    ALL = "all"


@dataclass(frozen=True)
class Options:
    """What is to be built beside the target.

    `dependencies` holds for the target and for all else that is built. `rebuild` are jobs that
    depend on the target, directly or not; those between come with them. `build_now` are direct
    dependencies that are built whatever `dependencies` says, also where the file pins one.
    """

    dependencies: Dependencies = Dependencies.NONE
    rebuild: frozenset[str] = frozenset()
    rebuild_all: bool = False
    build_now: frozenset[str] = frozenset()

    @property
    def are_plain(self) -> bool:
        """Whether nothing but the target can be built."""
        return self == Options()


@dataclass(frozen=True)
class JobFacts:
    """What a plan has to know of a job.

    `latest` is its newest build that may be used. `stale` says why that is outdated by itself; that
    a dependency is outdated is found out here. `pins` are the builds that the file names for its
    dependencies. `refusal` says why it can't be built whatever else is.
    """

    dependencies: Sequence[str] = ()
    latest: int | None = None
    stale: Sequence[str] = ()
    pins: Mapping[str, int] = field(default_factory=dict)
    protected: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class PlannedBuild:
    """A build to be made. `inputs` has the build to use by job; None is the plan's own."""

    job_id: str
    reason: str
    inputs: Mapping[str, int | None]
    protected: bool = False

    @property
    def waits_for(self) -> list[str]:
        """The jobs whose builds of this plan it uses."""
        return [name for name, number in self.inputs.items() if number is None]


@dataclass(frozen=True)
class ReusedBuild:
    """A build that is used as it is."""

    job_id: str
    build_id: int
    reason: str


@dataclass(frozen=True)
class BlockedJob:
    """A job that should be built and can't be."""

    job_id: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What to build, in order; what is used as it is; what can't be built.

    When the target itself is blocked nothing is built.
    """

    target: str
    builds: tuple[PlannedBuild, ...] = ()
    reused: tuple[ReusedBuild, ...] = ()
    blocked: tuple[BlockedJob, ...] = ()

    @property
    def protected(self) -> list[str]:
        """The jobs of it that have to be armed."""
        return [build.job_id for build in self.builds if build.protected]

    def why_not(self, job_id: str) -> str:
        """Return why a job is blocked; "" when it is not."""
        return next((one.reason for one in self.blocked if one.job_id == job_id), "")


Facts = Mapping[str, JobFacts]


def relevant_jobs(links: graph.Graph, target: str) -> list[str]:
    """Return all jobs that any plan for `target` can speak of, in the order of the graph."""
    wanted = set(graph.reachable(links, [target, *graph.descendants(links, target)]))
    return [name for name in links if name in wanted]


def make_plan(
    target: str, facts: Facts, options: Options, uses: Mapping[str, int] | None = None
) -> Plan:
    """Return the plan for `target`, given `facts` of all `relevant_jobs`.

    `uses` names the build to use for a direct dependency, for all builds of the plan; those beside
    the target keep what the file pins for them. Raises InvalidRequest, with all that is wrong, for
    names that don't fit the graph.
    """
    work = _Planner(target, facts, options, uses or {})
    work.refuse_strangers()
    return work.plan()


class _Planner:
    """One making of a plan."""

    def __init__(
        self, target: str, facts: Facts, options: Options, uses: Mapping[str, int]
    ) -> None:
        self.target = target
        self.facts = facts
        self.options = options
        self.uses = uses
        # Only edges along which a new build would be used: a pinned one is not followed.
        self.links = {
            name: [dep for dep in job.dependencies if self.pin(name, dep) is None]
            for name, job in facts.items()
        }
        self.users = graph.reverse(self.links)
        self.order = graph.topological_order(
            {name: list(job.dependencies) for name, job in facts.items()}
        )

    def pin(self, name: str, dependency: str) -> int | None:
        """Return the build that `name` uses of a dependency whatever happens, if any."""
        pinned = self.facts[name].pins.get(dependency)
        if name != self.target and pinned is not None:
            # With another build it would be outdated at once.
            return pinned
        if dependency in self.uses:
            return self.uses[dependency]
        return None if dependency in self.options.build_now else pinned

    def refuse_strangers(self) -> None:
        """Raise InvalidRequest for names that are no dependency, or don't use the target."""
        direct = set(self.facts[self.target].dependencies)
        wrong = [
            f"job {self.target!r} does not depend on {name!r}"
            for name in dict.fromkeys([*self.uses, *sorted(self.options.build_now)])
            if name not in direct
        ]
        wrong += [
            f"{name!r} can't be both built now and used as build #{self.uses[name]}"
            for name in sorted(self.options.build_now)
            if name in self.uses
        ]
        followers = set(self.followers())
        wrong += [
            f"a new build of {self.target!r} is not used by {name!r}"
            for name in sorted(self.options.rebuild)
            if name not in followers
        ]
        if wrong:
            raise InvalidRequest("; ".join(wrong) + ".")

    def followers(self) -> list[str]:
        """Return the jobs that would use a new build of the target, directly or not."""
        return graph.reachable(self.users, [self.target])[1:]

    # --- Which jobs

    def plan(self) -> Plan:
        """Return the plan."""
        wanted = self.asked_for()
        blocked: dict[str, str] = {}
        while True:
            chosen = self.with_dependencies(wanted)
            found = self.blocked(chosen)
            blocked = {**found, **blocked}
            if self.target in found:
                return Plan(self.target, blocked=self._blocked_in_order(blocked))
            if not found:
                break
            # Without what can't be built, and without what was needed for that alone.
            wanted = {name: reason for name, reason in wanted.items() if name not in found}
        builds = tuple(self._build(name, chosen) for name in self.order if name in chosen)
        return Plan(self.target, builds, self._reused(builds), self._blocked_in_order(blocked))

    def asked_for(self) -> dict[str, str]:
        """Return the jobs that are built whatever their state, with the reason."""
        wanted = {self.target: "asked for"}
        wanted |= dict.fromkeys(
            sorted(self.options.build_now), f"to be built now for {self.target}"
        )
        followers = self.followers()
        if self.options.rebuild_all:
            chosen = set(followers)
        else:
            chosen = self._up_to(self.options.rebuild, followers)
        for name in followers:
            if name in chosen:
                used = [dep for dep in self.links[name] if dep == self.target or dep in chosen]
                wanted[name] = f"uses {_names(used)}"
        return wanted

    def _up_to(self, ends: Collection[str], followers: Sequence[str]) -> set[str]:
        """Return `ends` and the followers of the target that lie between."""
        allowed = set(followers)
        found = set(ends)
        pending = deque(found)
        while pending:
            for dep in self.links[pending.popleft()]:
                if dep in allowed and dep not in found:
                    found.add(dep)
                    pending.append(dep)
        return found

    def with_dependencies(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return `wanted` with the dependencies that the options say are to be built."""
        chosen = dict(wanted)
        needed = self._outdated(wanted)
        pending = deque(wanted)
        while pending:
            name = pending.popleft()
            for dep in self.links[name]:
                if dep in chosen or not self._is_wanted(dep, needed):
                    continue
                chosen[dep] = ""
                pending.append(dep)
        return {name: why or self._reason(name, chosen) for name, why in chosen.items()}

    def _is_wanted(self, name: str, outdated: Collection[str]) -> bool:
        match self.options.dependencies:
            case Dependencies.NONE:
                return False
            case Dependencies.MISSING:
                return self.facts[name].latest is None
            case Dependencies.OUTDATED:
                return name in outdated
            case Dependencies.ALL:
                return True

    def _outdated(self, wanted: Collection[str]) -> set[str]:
        """Return the jobs without a current build once `wanted` are built, dependencies first."""
        found: set[str] = set()
        if self.options.dependencies != Dependencies.OUTDATED:
            return found
        for name in self.order:
            job = self.facts[name]
            stale = name in wanted or job.latest is None or bool(job.stale)
            if stale or any(dep in found for dep in self.links[name]):
                found.add(name)
        return found

    def _reason(self, name: str, chosen: Collection[str]) -> str:
        job = self.facts[name]
        if job.latest is None:
            return "no successful build"
        if self.options.dependencies == Dependencies.ALL:
            return f"used by {_names([user for user in self.users[name] if user in chosen])}"
        if job.stale:
            more = len(job.stale) - NAMED
            return "; ".join(job.stale[:NAMED]) + (f"; and {more} more" if more > 0 else "")
        return f"uses {_names([dep for dep in self.links[name] if dep in chosen])}"

    # --- What stands in the way

    def blocked(self, chosen: Collection[str]) -> dict[str, str]:
        """Return those of `chosen` that can't be built, with why."""
        found: dict[str, str] = {}
        for name in self.order:
            if name in chosen:
                why = self._why_blocked(name, chosen, found)
                if why:
                    found[name] = why
        return found

    def _why_blocked(self, name: str, chosen: Collection[str], blocked: Collection[str]) -> str:
        job = self.facts[name]
        if job.refusal:
            return job.refusal
        missing = [
            dep for dep in self.links[name] if dep not in chosen and self.facts[dep].latest is None
        ]
        in_the_way = [dep for dep in self.links[name] if dep in blocked]
        why = [f"no successful build of {_names(missing)}"] if missing else []
        why += [f"{_names(in_the_way)} can't be built"] if in_the_way else []
        return "; ".join(why)

    def _blocked_in_order(self, blocked: Mapping[str, str]) -> tuple[BlockedJob, ...]:
        return tuple(BlockedJob(name, blocked[name]) for name in self.order if name in blocked)

    # --- What is used

    def _build(self, name: str, chosen: Mapping[str, str]) -> PlannedBuild:
        return PlannedBuild(
            job_id=name,
            reason=chosen[name],
            inputs=dict(self._inputs(name, chosen)),
            protected=self.facts[name].protected,
        )

    def _inputs(self, name: str, chosen: Collection[str]) -> Iterator[tuple[str, int | None]]:
        for dep in self.facts[name].dependencies:
            pin = self.pin(name, dep)
            if pin is not None:
                yield dep, pin
            else:
                yield dep, None if dep in chosen else self.facts[dep].latest

    def _reused(self, builds: Sequence[PlannedBuild]) -> tuple[ReusedBuild, ...]:
        found: dict[tuple[str, int], str] = {}
        for build in builds:
            for dep, number in build.inputs.items():
                if number is not None:
                    found.setdefault((dep, number), self._why_reused(build.job_id, dep))
        places = {name: place for place, name in enumerate(self.order)}
        ordered = sorted(found, key=lambda one: (places[one[0]], one[1]))
        return tuple(ReusedBuild(name, number, found[name, number]) for name, number in ordered)

    def _why_reused(self, name: str, dependency: str) -> str:
        if name != self.target and dependency in self.facts[name].pins:
            return "pinned in the file"
        if dependency in self.uses:
            return "chosen"
        return "pinned in the file" if dependency in self.facts[name].pins else "latest success"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = len(names) - NAMED
    return f"{shown} and {more} more" if more > 0 else shown
