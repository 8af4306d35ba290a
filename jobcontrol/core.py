"""The objects that job code, cleanup and repr functions get: thin views on the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from builds import retention, runner, services, sessions, uses
from builds.logs import CaptureHandler
from builds.models import Build
from builds.plan_running import run_plan
from builds.recorder import recorder
from builds.sessions import current_buffer
from builds.workers import WorkerIdentity
from jobcontrol import globals as context_state
from jobcontrol.config import JobControlConfig, Readable
from jobcontrol.exceptions import InvalidRequest, NotFound, NotInBuild
from jobcontrol.infos import UNLOADED, BuildInfo, JobInfo, deprecated
from jobcontrol.utils.text import clean_text
from jobs import registry
from jobs.models import Job

__all__ = [
    "BuildInfo",
    "JobControl",
    "JobControlLogHandler",
    "JobExecutionContext",
    "JobInfo",
]

MAX_ID = 2**63 - 1  # what the databases' integers hold


class JobControl:
    """The application: jobs, builds, and running them.

    Every `job_id` may be a number, as in old files; every `build_id` may be a BuildInfo.
    """

    @classmethod
    def from_config_file(cls, config_file: str | Path | Readable) -> JobControl:
        """Load a configuration and make the registry follow it.

        Raises `jobs.config.ConfigError` naming all that is wrong; the registry stays as it was.
        """
        return cls.from_config(JobControlConfig.from_file(config_file))

    @classmethod
    def from_config(cls, config: JobControlConfig | Mapping[str, Any]) -> JobControl:
        """Make the registry follow a configuration object or a plain dict."""
        if not isinstance(config, JobControlConfig):
            config = JobControlConfig(config)
        registry.use(config.configuration)
        registry.sync(config.configuration)
        return cls()

    @property
    def config(self) -> JobControlConfig:
        """The configuration of this process. Raises ConfigError if there never was a good one."""
        return JobControlConfig(registry.configuration())

    def get_job(self, job_id: object) -> JobInfo:
        """Return a job. Raises NotFound."""
        return JobInfo(self, _job(job_id))

    def iter_jobs(self) -> Iterator[JobInfo]:
        """Yield the jobs in the order of the file."""
        for job in Job.objects.active():
            yield JobInfo(self, job)

    def get_build(self, build_id: int) -> BuildInfo:
        """Return a build. Raises NotFound."""
        number = build_id if isinstance(build_id, int) or str(build_id).isdecimal() else None
        build = None
        if number is not None and int(number) <= MAX_ID:
            build = Build.objects.select_related("job").filter(pk=number).first()
        if build is None:
            raise NotFound(f"no build #{build_id}")
        return BuildInfo(self, build)

    def create_build(
        self, job_id: object, *, dependency_builds: Mapping[Any, Any] | None = None
    ) -> BuildInfo:
        """Record a build that is not asked to run yet.

        `dependency_builds` chooses the build of a dependency by its number, or `"latest"`. Raises
        NotFound, MissingDependencies naming what has to be built first, and InvalidRequest for what
        can't be used.
        """
        job = _job(job_id)
        # On the recorder's connection, so that a transaction of the job's own can't hide it.
        return BuildInfo(self, recorder().call(lambda: _create(job, dependency_builds)))

    def build_job(
        self,
        job_id: object,
        *,
        arm: bool = False,
        dependencies: str = "none",
        rebuild_reverse_dependencies: bool | Iterable[object] = False,
        dependency_builds: Mapping[Any, Any] | None = None,
    ) -> BuildInfo:
        """Create a build and run it here; inside a job it is nested.

        `dependencies` ("missing", "outdated" or "all") are built before it, and those jobs that use
        it after it: all, or those named and what lies between. `dependency_builds` is that of
        `create_build`, where None (or `"now"`) means a new build. Returns the job's own build, also
        when another one failed. Raises what `create_build` raises, ProtectedJob naming all that is
        protected unless `arm`, and LimitReached when as many builds of a job run as its
        `concurrency` allows; what is left of a plan is cancelled then.
        """
        job = _job(job_id)
        chosen = recorder().call(lambda: uses.read(job, _choice(dependency_builds)))
        options = uses.options(
            dependencies=dependencies,
            build_now=chosen[1],
            rebuild=_followers(rebuild_reverse_dependencies),
        )
        if options.are_plain:
            services.refuse_unarmed(job=job, arm=arm)
            recorder().call(lambda: services.refuse_full(job=job))
            info = self.create_build(job_id, dependency_builds=chosen[0])
            return self.run_build(info, arm=arm)
        wish: dict[str, Any] = {"job": job, "trigger": _trigger(), "arm": arm, "options": options}
        wish |= {"dependency_builds": chosen[0]}
        here = str(WorkerIdentity.current())
        build = recorder().call(lambda: services.create_plan(runner=here, **wish))
        if build.plan is None:
            return BuildInfo(self, runner.run_here(build))
        run_plan(build.plan)
        return self.get_build(build.pk)

    def run_build(self, build_id: int | BuildInfo, *, arm: bool = False) -> BuildInfo:
        """Run a build here and return it as it ended.

        Raises BuildStateError when it was run before, ProtectedJob and LimitReached as `build_job`.
        """
        info = build_id if isinstance(build_id, BuildInfo) else self.get_build(build_id)
        services.refuse_unarmed(job=info.model.job, arm=arm)
        return BuildInfo(self, runner.run_here(info.model, arm=arm))

    def prune_logs(self, policy: Any = None) -> int:
        """Delete old log messages by a policy (see `builds.retention`); return how many.

        Without one the file's `retention` holds.
        """
        return retention.prune_logs(policy=policy)

    def report_progress(
        self,
        group_name: tuple[Any, ...] | list[Any] | None,
        current: int,
        total: int,
        status_line: str | None = "",
    ) -> None:
        """Report progress of the current build.

        `group_name` is the path in the tree of progress bars, None (or an empty one) the whole;
        `current` of `total` steps are done; `status_line` says what goes on. Raises TypeError for
        a str path and for numbers that are no integers, NotInBuild where no build runs.
        """
        session = sessions.current()
        if session is not None:
            session.progress.report(group_name, current, total, status_line)
            context_state.expect_reports(session.progress.known)
        elif not sessions.is_forked_child():
            raise NotInBuild("current_app.report_progress()")

    @property
    def storage(self) -> _OldStorage:
        """The two calls of the original's storage that job code made; deprecated."""
        return _OldStorage(self)


class _OldStorage:
    def __init__(self, app: JobControl) -> None:
        self._app = app

    def update_build_progress(self, build_id: int, current: int, total: int) -> None:
        """Report the whole progress of a build that runs in this process."""
        deprecated("storage.update_build_progress()", "current_app.report_progress(None, …)")
        session = sessions.find(build_id)
        if session is not None:
            session.progress.report(None, current, total)
        elif not sessions.is_forked_child():
            raise NotFound(f"build #{build_id} does not run in this process")

    def get_latest_successful_build(self, job_id: object) -> BuildInfo | None:
        """Return the newest successful build of a job, None if there is none."""
        deprecated(
            "storage.get_latest_successful_build()",
            "current_app.get_job(id).get_latest_successful_build()",
        )
        return self._app.get_job(job_id).get_latest_successful_build()


class JobExecutionContext:
    """What the proxies of `jobcontrol.globals` mean while it is active.

    Use it as a context manager, or `push()` and `pop()` it.
    """

    def __init__(
        self, app: JobControl, job_id: object, build_id: int, build: Build | None = None
    ) -> None:
        self.app = app
        self.job_id = str(job_id)
        self.build_id = build_id
        # As it was claimed: a job that asks which build it is needs no database, which may be away.
        self._build = build

    def push(self) -> None:
        """Make this the innermost context."""
        context_state.push(self)

    def pop(self) -> None:
        """Take this context away again."""
        context_state.pop(self)

    def __enter__(self) -> JobExecutionContext:
        self.push()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pop()

    @property
    def current_app(self) -> JobControl:
        """The application."""
        return self.app

    @property
    def current_job(self) -> JobInfo:
        """The running build's job."""
        if self._build is not None:
            return JobInfo(self.app, self._build.job)
        return self.app.get_job(self.job_id)

    @property
    def current_build(self) -> BuildInfo:
        """The running build."""
        if self._build is not None:
            return BuildInfo(self.app, self._build)
        return self.app.get_build(self.build_id)


class JobControlLogHandler(CaptureHandler):
    """A logging handler that sends records to the current build, and ignores them elsewhere.

    It stands on the root logger while a build runs; a job needs it only for a logger that does
    not propagate.
    """

    def __init__(self) -> None:
        super().__init__(current_buffer)


class AuthorObjects:
    """The factory that the runner makes job authors' objects with."""

    def execution_context(self, build: Build) -> JobExecutionContext:
        """Return the context of a running build."""
        return JobExecutionContext(JobControl(), build.job_id, build.pk, build)

    def build_info(self, build: Build, *, retval: Any = UNLOADED) -> BuildInfo:
        """Return the build as job code sees it; `retval` spares loading it."""
        return BuildInfo(JobControl(), build, retval=retval)


def _job(job_id: object) -> Job:
    name = str(job_id)
    # What no database can hold is no id.
    job = Job.objects.filter(pk=name).first() if clean_text(name) == name else None
    if job is None:
        raise NotFound(f"no job {job_id!r}: the configuration file has no such id")
    return job


def _create(job: Job, dependency_builds: Mapping[Any, Any] | None) -> Build:
    chosen, build_now = uses.read(job, _choice(dependency_builds))
    if build_now:
        names = ", ".join(repr(name) for name in sorted(build_now))
        raise InvalidRequest(f"{names} can't be built now by create_build(): use build_job().")
    return services.create_build(job=job, trigger=_trigger(), dependency_builds=chosen)


def _choice(given: Mapping[Any, Any] | None) -> dict[str, int | str]:
    """Return the builds to use as `uses.read` takes them; the manual's None is "now".

    Raises InvalidRequest naming all that is none.
    """
    if given is not None and not isinstance(given, Mapping):
        raise InvalidRequest(f"dependency_builds must map jobs to builds, not be {given!r}.")
    found: dict[str, int | str] = {}
    wrong = []
    for name, value in (given or {}).items():
        use = value.id if isinstance(value, BuildInfo) else uses.NOW if value is None else value
        is_number = type(use) is int and 0 < use <= MAX_ID
        if is_number or use in (uses.LATEST, uses.NOW):
            found[str(name)] = use
        else:
            wrong.append(f"dependency_builds[{name!r}] is no build, 'latest' or 'now': {use!r}")
    if wrong:
        raise InvalidRequest("; ".join(wrong) + ".")
    return found


def _followers(given: bool | Iterable[object]) -> bool | list[str]:
    """Return the jobs to rebuild as `uses.options` takes them. Raises InvalidRequest for no list.

    A text is none, though Python would take it for a list of its letters.
    """
    if isinstance(given, bool):
        return given
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidRequest(
            f"rebuild_reverse_dependencies must be True, False or a list of jobs, not {given!r}."
        )
    return [str(name) for name in given]


def _trigger() -> str:
    return Build.Trigger.PYTHON if sessions.current() is None else Build.Trigger.NESTED
