"""The pages inside Django's admin: of jobs, builds, plans, schedules, workers, tokens and people."""

from builds.admin import builds, deletions, jobs, people, plans, schedules, tokens, workers

__all__ = ["builds", "deletions", "jobs", "people", "plans", "schedules", "tokens", "workers"]
