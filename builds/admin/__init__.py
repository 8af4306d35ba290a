"""The pages of jobs, builds, schedules, deletions, API tokens and people inside Django's admin."""

from builds.admin import builds, deletions, jobs, people, schedules, tokens

__all__ = ["builds", "deletions", "jobs", "people", "schedules", "tokens"]
