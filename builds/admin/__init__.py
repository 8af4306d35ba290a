"""The pages of jobs, builds, deletions, workers, API tokens and people inside Django's admin."""

from builds.admin import builds, deletions, jobs, people, tokens, workers

__all__ = ["builds", "deletions", "jobs", "people", "tokens", "workers"]
