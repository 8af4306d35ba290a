"""The pages of jobs, builds and deletions inside Django's admin."""

from builds.admin import builds, deletions, jobs

__all__ = ["builds", "deletions", "jobs"]
