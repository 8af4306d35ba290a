"""The pages in the admin: jobs, builds, plans, schedules, deletions, workers, tokens, people."""

from builds.admin import (
    builds,
    dashboard,
    deletions,
    jobs,
    people,
    plans,
    revisions,
    schedules,
    search,
    tokens,
    workers,
)

__all__ = [
    "builds",
    "dashboard",
    "deletions",
    "jobs",
    "people",
    "plans",
    "revisions",
    "schedules",
    "search",
    "tokens",
    "workers",
]
