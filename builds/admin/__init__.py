"""The pages of jobs, builds, plans, deletions, workers, API tokens and people in the admin."""

from builds.admin import builds, deletions, jobs, people, plans, tokens, workers

__all__ = ["builds", "deletions", "jobs", "people", "plans", "tokens", "workers"]
