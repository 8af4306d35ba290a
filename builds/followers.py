"""The jobs that would use a new build of a job: in a bounded number of queries."""

from __future__ import annotations

from collections.abc import Mapping

from builds.status import pinned_builds
from jobs import graph
from jobs.models import Job

_IN_ONE_QUERY = 5_000  # databases bound the parameters of one statement


def followers_of(job: Job, links: Mapping[str, list[str]]) -> list[Job]:
    """Return the jobs of the file that use builds of `job`, directly or not, nearest first.

    Whoever is pinned to an earlier build does not use a new one. `links`: see `job_links`.
    """
    names = graph.descendants(links, job.pk)
    jobs = {one.pk: one for one in _jobs(names)}
    followed = {
        name: [dep for dep in links[name] if dep not in pinned_builds(one)]
        for name, one in jobs.items()
    }
    followed[job.pk] = []
    return [jobs[name] for name in graph.descendants(followed, job.pk)]


def _jobs(names: list[str]) -> list[Job]:
    if not names:
        return []
    jobs = Job.objects.active().only("pk", "title", "protected", "config")
    if len(names) <= _IN_ONE_QUERY:
        return list(jobs.filter(pk__in=names))
    wanted = set(names)
    return [job for job in jobs if job.pk in wanted]
