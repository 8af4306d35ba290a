"""The pages of jobs, builds, deletions and API tokens inside Django's admin."""

from builds.admin import builds, deletions, jobs, tokens

__all__ = ["builds", "deletions", "jobs", "tokens"]
