"""The pages of jobs, builds, schedules, deletions, workers, tokens and people in Django's admin."""

from builds.admin import builds, deletions, jobs, people, schedules, tokens, workers

__all__ = ["builds", "deletions", "jobs", "people", "schedules", "tokens", "workers"]
