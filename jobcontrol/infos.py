"""Jobs and builds as job code sees them: thin views on the models."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from builds import deletion, progress, services
from builds.models import Build, BuildQuerySet, LogMessage
from builds.retvals import unseal
from builds.status import job_status
from jobcontrol.config import BuildConfig
from jobcontrol.utils import ProgressReport, TracebackInfo
from jobs import registry, tags
from jobs.models import Job, JobDependency
from jobs.redaction import Redactor

if TYPE_CHECKING:
    from jobcontrol.core import JobControl

UNLOADED: Any = object()


class JobInfo:
    """A job: what the file says of it, and its builds."""

    def __init__(self, app: JobControl, job: Job) -> None:
        self.app = app
        self.model = job

    def __repr__(self) -> str:
        return f"<Job {self.id!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobInfo) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """The id."""
        return self.model.pk

    @property
    def config(self) -> BuildConfig:
        """The job's block of the file, unknown keys included."""
        return BuildConfig(_decoded(self.model.config))

    def get_deps(self) -> Iterator[JobInfo]:
        """Yield the jobs that this one depends on."""
        links = JobDependency.objects.filter(job=self.model).select_related("depends_on")
        for link in links.order_by("position"):
            yield JobInfo(self.app, link.depends_on)

    def get_revdeps(self) -> Iterator[JobInfo]:
        """Yield the jobs that depend on this one."""
        links = JobDependency.objects.filter(depends_on=self.model).select_related("job")
        for link in links.order_by("job__position", "job_id"):
            yield JobInfo(self.app, link.job)

    def get_status(self) -> str:
        """Return `not_built`, `outdated`, `success` or `failed`; see also `has_running_builds`."""
        return job_status(self.model).status

    def iter_builds(  # noqa: PLR0917 - the original's positional arguments
        self,
        started: bool | None = None,
        finished: bool | None = None,
        success: bool | None = None,
        skipped: bool | None = None,
        order: str = "asc",
        limit: int | None = 100,
    ) -> Iterator[BuildInfo]:
        """Yield builds, oldest first (`order='desc'`: newest first), at most `limit`."""
        builds: BuildQuerySet = Build.objects.filter(job=self.model).select_related("job")
        flags = {"started": started, "finished": finished, "success": success, "skipped": skipped}
        for name, wanted in flags.items():
            if wanted is not None:
                builds = getattr(builds, name)(wanted)
        ordered = builds.order_by("id" if order == "asc" else "-id")[:limit]
        for build in ordered:
            yield BuildInfo(self.app, build)

    def get_builds(self, *args: Any, **kwargs: Any) -> Iterator[BuildInfo]:
        """Yield builds; the deprecated name of `iter_builds`."""
        deprecated("get_builds()", "iter_builds()")
        return self.iter_builds(*args, **kwargs)

    def run(self, *, arm: bool = False, **options: Any) -> BuildInfo:
        """Create a build, run it here and return it; takes what `JobControl.build_job` takes."""
        return self.app.build_job(self.id, arm=arm, **options)

    def create_build(self, **options: Any) -> BuildInfo:
        """Record a build that is not asked to run yet, as `JobControl.create_build` does."""
        return self.app.create_build(self.id, **options)

    def get_latest_successful_build(self) -> BuildInfo | None:
        """Return the newest build that succeeded and was not skipped, None if there is none."""
        builds: BuildQuerySet = Build.objects.filter(job=self.model).select_related("job")
        newest = builds.successful().newest_first().first()
        return None if newest is None else BuildInfo(self.app, newest)

    def get_docs(self) -> str:
        """Return the signature and docstring of the job's function."""
        docs = self.model.docs
        parts = (str(docs.get(part) or "") for part in ("signature", "docstring"))
        return "\n\n".join(part for part in parts if part)

    def get_conf_as_yaml(self) -> str:
        """Return the job's block as YAML, secrets masked."""
        return self.model.config_text

    def has_builds(self) -> bool:
        """Whether the job was ever asked for."""
        return self.model.builds.exists()

    def has_successful_builds(self) -> bool:
        """Whether a build of it succeeded and was not skipped."""
        return Build.objects.filter(job=self.model).successful().exists()

    def has_running_builds(self) -> bool:
        """Whether a build of it runs now."""
        return Build.objects.filter(job=self.model).running().exists()

    def is_outdated(self) -> bool | None:
        """Whether a newer success of a dependency, or a changed configuration, calls for a build.

        So does a dependency that is itself outdated. None where the job, or one of its
        dependencies, has no success yet.
        """
        status = job_status(self.model)
        if status.latest_successful_build_id is None or status.missing:
            return None
        return bool(status.stale_reasons)

    def can_be_built(self) -> bool:
        """Whether every dependency has a build to use."""
        return not services.why_not_buildable(self.model)


class BuildInfo:
    """A build. `build['retval']`, `build['success']` … read the fields of `info`."""

    def __init__(self, app: JobControl, build: Build, *, retval: Any = UNLOADED) -> None:
        self.app = app
        self.model = build
        self._retval = retval

    def __repr__(self) -> str:
        return f"<Build {self.id} (job: {self.job_id!r}, status: {self.descriptive_status})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BuildInfo) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __getitem__(self, name: str) -> Any:
        if name == "retval":
            return self.retval
        return self.info[name]

    @property
    def id(self) -> int:
        """The number."""
        return self.model.pk

    build_id = id

    @property
    def job_id(self) -> str:
        """The id of its job."""
        return self.model.job_id

    @property
    def info(self) -> dict[str, Any]:
        """The build as a dict with the original's keys; the return value is loaded for it."""
        build = self.model
        return {
            "id": build.pk,
            "job_id": build.job_id,
            "start_time": build.start_time,
            "end_time": build.end_time,
            "started": build.started,
            "finished": build.finished,
            "success": build.success,
            "skipped": build.skipped,
            "config": self.config,
            "retval": self.retval,
            "exception": self.exception,
            "exception_tb": self.exception_tb,
        }

    @property
    def retval(self) -> Any:
        """The return value, None if there is none. Raises RetvalError if it can't be loaded."""
        if self._retval is UNLOADED:
            sealed = self.model.payload.retval
            self._retval = None if sealed is None else unseal(self.id, bytes(sealed))
        return self._retval

    @property
    def exception(self) -> str | None:
        """What the job raised, as text: `ValueError: no such page`."""
        build = self.model
        if not build.exception_type:
            return None
        return f"{build.exception_type}: {build.exception_message}"

    @property
    def exception_tb(self) -> TracebackInfo | None:
        """The traceback with locals, as structure."""
        stored = self.model.payload.traceback
        return None if stored is None else TracebackInfo.from_json(stored)

    @property
    def config(self) -> BuildConfig:
        """The configuration that the build was made with, unknown keys included."""
        return BuildConfig(_decoded(self.model.payload.config))

    @property
    def descriptive_status(self) -> str:
        """CREATED, RUNNING, SUCCESSFUL, SKIPPED, FAILED, …"""
        return self.model.status

    def refresh(self) -> None:
        """Read the build from the database again."""
        self.model = Build.objects.select_related("job").get(pk=self.id)
        self._retval = UNLOADED

    def get_progress_info(self) -> ProgressReport:
        """Return the tree of progress reports."""
        return progress.progress_tree(self.model)

    def get_job(self) -> JobInfo:
        """Return the job."""
        return JobInfo(self.app, self.model.job)

    def delete(self, *, cleanup: bool = True) -> None:
        """Call the cleanup function, then delete the build and all its records.

        Raises CleanupFailed (and keeps the build) if that function fails; BuildStateError while
        the build runs or an unfinished build needs it.
        """
        deletion.delete_build(build=self.model, cleanup=cleanup)

    def run(self, *, arm: bool = False) -> BuildInfo:
        """Run the build here and return it as it ended."""
        return self.app.run_build(self, arm=arm)

    def iter_log_messages(
        self,
        max_date: datetime | None = None,
        min_date: datetime | None = None,
        min_level: int | None = None,
    ) -> Iterator[LogMessage]:
        """Yield log messages, oldest first, within dates and from a level up."""
        bounds = {"created__lte": max_date, "created__gte": min_date, "level__gte": min_level}
        wanted = {name: value for name, value in bounds.items() if value is not None}
        yield from LogMessage.objects.filter(build=self.model, **wanted).order_by("id").iterator()


def _decoded(stored: Any) -> dict[str, Any]:
    """Return a stored block as the job's function gets its values, `!retval` as an object."""
    redactor: Redactor = registry.redactor()

    def secret(reference: tags.Secret) -> object:
        try:
            return redactor.value(reference)
        except KeyError:
            # No longer in the file; the rest of the block can be read all the same.
            return reference

    return dict(tags.resolve(tags.decode(stored), retval=tags.Retval, secret=secret))


def deprecated(old: str, new: str) -> None:
    """Tell the job's author, in warnings and in the build's log, what to write instead."""
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=3)
    logging.getLogger("jobcontrol").debug("%s is deprecated: use %s", old, new)
