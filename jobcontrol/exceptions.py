"""The exceptions of JobControl. Each says, in words for people, what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class JobControlException(Exception):  # noqa: N818 - the original's name, which job code catches
    """Base of all exceptions of ours."""


class NotFound(JobControlException):
    """Something asked for by its id does not exist."""


class MissingDependencies(JobControlException):
    """A job can't be built: some of its dependencies have no successful build."""

    def __init__(self, job_id: str = "", missing: Iterable[str] = ()) -> None:
        self.job_id = job_id
        self.missing = tuple(missing)
        names = ", ".join(repr(name) for name in self.missing)
        super().__init__(
            f"job {job_id!r} can't be built: no successful build of {names}. Build that first."
        )


class SkipBuild(JobControlException):
    """Raised by a job that finds nothing to do: the build is SKIPPED, with the text as reason."""


class SerializationError(JobControlException):
    """A return value can't be stored; the text says which part of it and why."""


class RetvalError(JobControlException):
    """A stored return value can't be loaded: tampered with, or of a class that is gone."""


class ProtectedJob(JobControlException):
    """A protected job was asked for without arming it."""

    def __init__(self, job_id: str = "", *more: str) -> None:
        self.job_id = job_id
        self.job_ids = (job_id, *more)
        if more:
            names = ", ".join(repr(name) for name in self.job_ids)
            text = f"jobs {names} are protected: arm them to build them."
        else:
            text = f"job {job_id!r} is protected: arm it to build it."
        super().__init__(text)


class BuildStateError(JobControlException):
    """The build is not in a state that allows what was asked."""


class InvalidRequest(JobControlException):
    """A request names something that is not so: a retired job, a build of another job."""


class LimitReached(JobControlException):
    """As many builds of the job run already as its `concurrency` allows."""

    def __init__(self, job_id: str = "", limit: int = 0) -> None:
        self.job_id = job_id
        self.limit = limit
        builds = "1 build" if limit == 1 else f"{limit} builds"
        super().__init__(
            f"{builds} of job {job_id!r} may run at the same time (its 'concurrency'), and no more "
            "can begin before one ends."
        )


class CleanupFailed(JobControlException):
    """The cleanup function of a build raised; the build was kept."""


class BuildInterrupted(BaseException):
    """Raised inside a running job's function when its build is cancelled, timed out or stopped.

    Not an Exception, so that a job's own `except Exception` lets it pass: `finally` blocks run, and
    the build ends. Catch it only to tidy up, and raise it again.
    """

    def __init__(self, text: str = "", build_id: int | None = None) -> None:
        self.build_id = build_id
        super().__init__(text)


class LeaseLost(JobControlException):
    """The build was taken from this process; nothing that it does is recorded any more."""


class ReadOnlyRegistry(JobControlException):
    """Something other than the sync tried to write the job registry."""

    def __init__(self) -> None:
        super().__init__(
            "jobs are read-only here: the configuration file is their only source. "
            "Change the file and run 'sync_jobs'."
        )


class NotInBuild(JobControlException, RuntimeError):  # noqa: N818 - see above
    """A proxy of `jobcontrol.globals` was used where no build is running."""

    def __init__(self, name: str = "current_build") -> None:
        super().__init__(
            f"{name} has a value only while a build runs. Use it inside the job's function, "
            "not at import time; in a test, run the job with 'build_job'."
        )
