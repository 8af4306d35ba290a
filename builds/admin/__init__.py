"""The pages in the admin: jobs, builds, plans, schedules, deletions, workers, tokens, people."""

from builds.admin import builds, deletions, jobs, people, plans, schedules, tokens, workers

__all__ = ["builds", "deletions", "jobs", "people", "plans", "schedules", "tokens", "workers"]
