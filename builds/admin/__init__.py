"""The pages of jobs, builds, deletions, API tokens and people inside Django's admin."""

from builds.admin import builds, deletions, jobs, people, tokens

__all__ = ["builds", "deletions", "jobs", "people", "tokens"]
