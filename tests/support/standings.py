"""Random jobs and histories in the database, and how they stand: told by the definition.

Apart from `builds.status`: one build after the other, job by job, no graph and no window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils import timezone
from hypothesis import strategies as st

from builds.models import Build, BuildDependency, BuildPayload
from jobs.models import Job
from tests.support.jobs import use_config

DONE = ("SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED")
IN_FILE = "m:f"
EARLIER = "m:another"


@dataclass(frozen=True)
class Event:
    """A build as it stands now; `ages` says which build of each dependency it used."""

    job: int
    status: str
    edited: bool  # the file has changed since
    kept: bool  # its configuration is stored
    deleting: bool
    ages: tuple[int, ...]  # 0: the newest success, 1: the one before, …; -1: none


@dataclass(frozen=True)
class History:
    """Jobs that depend on earlier ones, what happened, which builds the file pins, what is gone."""

    needs: tuple[tuple[int, ...], ...]
    events: tuple[Event, ...]
    pins: tuple[tuple[int, int, int], ...]  # a job, which of its dependencies, which event
    deleted: tuple[int, ...]
    retired: frozenset[int]

    def write(self) -> None:
        """Make the database so."""
        Build.objects.all().delete()
        names = [f"j{n}" for n in range(len(self.needs))]
        specs: list[dict[str, Any]] = [
            {"id": name, "function": IN_FILE, "dependencies": [names[dep] for dep in deps]}
            for name, deps in zip(names, self.needs, strict=True)
        ]
        use_config(json.dumps({"jobs": specs}))
        numbers = [self._happen(event) for event in self.events]
        for job, which, event in self.pins:
            deps = specs[job]["dependencies"]
            if deps and numbers:
                pin = {deps[which % len(deps)]: numbers[event % len(numbers)]}
                specs[job]["pinned_builds"] = specs[job].get("pinned_builds", {}) | pin
        for event in self.deleted:
            Build.objects.filter(pk__in=[numbers[event % len(numbers)]] if numbers else []).delete()
        gone = {names[job % len(names)] for job in self.retired}
        needed = {dep for spec in specs if spec["id"] not in gone for dep in spec["dependencies"]}
        use_config(json.dumps({"jobs": [one for one in specs if one["id"] not in gone - needed]}))

    def _happen(self, event: Event) -> int:
        job = f"j{event.job % len(self.needs)}"
        ended = timezone.now() if event.status in DONE else None
        build = Build.objects.create(
            job_id=job,
            status=event.status,
            deleting=event.deleting and event.status in DONE,
            end_time=ended,
            exception_message="why" if event.status in ("FAILED", "SKIPPED") else "",
        )
        if event.kept:
            config = dict(Job.objects.get(pk=job).config)
            config["function"] = EARLIER if event.edited else IN_FILE
            BuildPayload.objects.create(build=build, config=config)
        for dep, age in zip(self.needs[event.job % len(self.needs)], event.ages, strict=False):
            earlier = Build.objects.filter(job_id=f"j{dep}", status="SUCCESSFUL").order_by("-pk")
            used = list(earlier)[age : age + 1] if age >= 0 else []
            for one in used:
                BuildDependency.objects.create(
                    build=build, job_id=f"j{dep}", dep_build=one, dep_build_number=one.pk
                )
        return build.pk


class Standing:
    """How all jobs stand, from every row there is."""

    def __init__(self) -> None:
        self.jobs = {job.pk: job for job in Job.objects.all()}
        self.builds = list(Build.objects.order_by("pk"))
        self.configs = {one.pk: one.config for one in BuildPayload.objects.all()}
        self.inputs = list(BuildDependency.objects.all())

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        """What each job depends on."""
        return {
            name: [link.depends_on_id for link in job.dependency_links.order_by("position")]
            for name, job in self.jobs.items()
        }

    def pins(self, job: str) -> dict[str, int]:
        """Return what the file pins."""
        return dict(self.jobs[job].config.get("pinned_builds") or {})

    def newest(self, job: str, *statuses: str) -> Build | None:
        """Return the newest build of a job in one of these states."""
        own = [one for one in self.builds if one.job_id == job and one.status in statuses]
        return own[-1] if own else None

    def missing(self, job: str) -> list[str]:
        """Return what a new build would not find."""
        return [
            dep
            for dep in self.needs[job]
            if not self.newest(dep, "SUCCESSFUL") and dep not in self.pins(job)
        ]

    def own_reasons(self, job: str) -> list[str]:
        """Say why a new build would be another one than the newest success."""
        newest = self.newest(job, "SUCCESSFUL")
        if newest is None or self.missing(job):
            return []
        used = {
            one.job_id: one.dep_build_number for one in self.inputs if one.build_id == newest.pk
        }
        found = []
        for dep in self.needs[job]:
            pin, last = self.pins(job).get(dep), self.newest(dep, "SUCCESSFUL")
            if pin is not None:
                if used.get(dep) != pin:
                    found.append(f"build #{pin} of {dep} is pinned now")
            elif dep not in used:
                found.append(f"{dep} is a dependency now")
            elif last is not None and last.pk > used[dep]:
                found.append(f"newer build #{last.pk} of {dep}")
        config = self.configs.get(newest.pk)
        if config is not None and config["function"] != self.jobs[job].config["function"]:
            found.append(f"configuration changed since build #{newest.pk}")
        return found

    def reasons(self, job: str) -> list[str]:
        """Say why a job is outdated."""
        if not self.newest(job, "SUCCESSFUL") or self.missing(job):
            return []
        return [
            *self.own_reasons(job),
            *(
                f"{dep} is itself outdated"
                for dep in self.needs[job]
                if dep not in self.pins(job) and self.reasons(dep)
            ),
        ]

    def status(self, job: str) -> str:
        """Say where a job stands."""
        if self.reasons(job):
            return "outdated"
        if self.newest(job, "SUCCESSFUL"):
            return "success"
        return "failed" if self.newest(job, "FAILED") else "not_built"

    def unfinished(self, job: str) -> list[int]:
        """Return what waits or runs, the newest first."""
        return [one.pk for one in self.builds[::-1] if one.job_id == job and one.status not in DONE]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a few jobs and what happened to them: mostly each was built once at least."""
    count = draw(st.integers(1, 5))
    needs = tuple(
        tuple(draw(st.lists(st.sampled_from(range(n)), unique=True, min_size=1))) if n else ()
        for n in range(count)
    )
    number, job, newest = st.integers(0, 30), st.integers(0, count - 1), (0,) * count
    event = st.builds(
        Event,
        job=job,
        status=st.sampled_from(["SUCCESSFUL"] * 8 + [str(one) for one in Build.Status]),
        edited=st.integers(0, 5).map(lambda n: n == 5),
        kept=st.integers(0, 9).map(lambda n: n < 9),
        deleting=st.integers(0, 9).map(lambda n: n == 9),
        ages=st.tuples(*[st.sampled_from([0, 0, 0, 0, 1, 2, -1])] * count),
    )
    first = [Event(n, "SUCCESSFUL", False, True, False, newest) for n in range(count)]
    later = st.lists(event, max_size=8)
    return History(
        needs=needs,
        events=(*(first if draw(st.integers(0, 4)) < 4 else []), *draw(later)),
        pins=tuple(draw(st.lists(st.tuples(job, number, number), max_size=2))),
        deleted=tuple(draw(st.lists(number, max_size=1))),
        retired=draw(st.frozensets(job, max_size=1)),
    )
