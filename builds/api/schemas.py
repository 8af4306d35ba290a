"""The shapes of requests and replies, as the OpenAPI document shows them.

The names are those of `builds.presentation`, which makes the replies: a test holds both together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from builds.deletion_models import Deletion as DeletionModel
from builds.models import Build as BuildModel

BIGGEST_ID = 2**63 - 1
MAX_KEY = 200  # characters of an idempotency key

Id = Annotated[int, Field(ge=1, le=BIGGEST_ID)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def any_of(*texts: dict[str, Any]) -> dict[str, JsonValue]:
    """Describe a text that has one of these forms."""
    return {"anyOf": [{"type": "string", **text} for text in texts]}


# More is understood: `moments.moment` says what.
MOMENT_OR_AGE = any_of(
    {"format": "date-time"}, {"format": "date"}, {"pattern": "^[0-9]{1,5}([.][0-9]+)?[smhdw]?$"}
)


class Problem(BaseModel):
    """Why a request was refused, in words."""

    detail: str


class Progress(BaseModel):
    """One bar of the tree of progress bars; the root has no name."""

    name: str | None
    current: int
    total: int
    status_line: str
    children: list[Progress]


class Build(BaseModel):
    """One run of a job."""

    id: int
    job_id: str
    status: BuildModel.Status
    started: bool
    finished: bool
    success: bool = Field(description="a skipped build is a success too")
    skipped: bool
    start_time: Moment | None
    end_time: Moment | None
    retval: str | None = Field(description="the return value as text, of successful builds only")
    exception: str | None = Field(description="why it failed")
    failure_kind: BuildModel.FailureKind | None
    attempt: int = Field(description="2 for the first retry")
    retry_of: int | None = Field(description="the first attempt, of a retry")
    cancel_requested: Moment | None = Field(description="when somebody asked to cancel it")
    waits_for: str | None = Field(description="why it has not begun yet, in words")
    dependency_builds: dict[str, int] = Field(description="the build it uses, by job")
    plan: int | None = Field(description="the plan that it belongs to")
    plan_reason: str = Field(description="why that plan has it")
    progress: Progress


class KeptBuild(BaseModel):
    """Whether a build is marked to be kept."""

    id: int
    job_id: str
    keep: bool


class Job(BaseModel):
    """A job of the configuration file, and where it stands."""

    id: str
    title: str
    status: Literal["not_built", "outdated", "success", "failed"]
    stale_reasons: list[str] = Field(description="why it is outdated")
    running: bool
    tags: list[str]
    protected: bool
    dependencies: list[str]
    problem: str = Field(description="why its function can't run, empty when it can")
    link: str = Field(description="the address of this job's own reply")


class JobDetail(Job):
    """A job with its call and neighbours.

    What JSON can't hold stands in `args` and `kwargs` as `{"!retval": JOB}`, `{"!secret": NAME}`,
    `{"!date": TEXT}` and the like.
    """

    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    notes: str
    reverse_dependencies: list[str]
    latest_successful_build: Build | None = Field(
        description="null also for those who may not see builds"
    )
    schedule_paused: bool
    next_runs: list[Moment] = Field(description="when its schedule starts it next; five at most")


class LogLine(BaseModel):
    """One line of a build's log."""

    id: int
    build_id: int
    created: Moment
    level: str
    logger: str
    message: str
    place: str
    origin: str
    exception: dict[str, Any] | None


class Deletion(BaseModel):
    """A deletion and what became of it; it stays when the build is gone."""

    id: int
    build_id: int
    job_id: str
    state: DeletionModel.State
    outcome: DeletionModel.Outcome | None = Field(description="null until it has ended")
    cleanup: bool
    cleanup_function: str
    requested_by: str | None
    created: Moment
    ended: Moment | None
    log: str = Field(description="what the cleanup function logged")
    exception: str | None = Field(description="why the cleanup failed")


class RunningBuild(BaseModel):
    """A build that a worker runs."""

    id: int
    job_id: str
    start_time: Moment | None


class WorkerProcess(BaseModel):
    """A worker, and what it runs: a build that runs another one in its process has it beside it."""

    pid: int
    started: Moment | None
    memory: int | None = Field(description="its resident memory in bytes")
    builds: list[RunningBuild]
    deletions: list[int] = Field(description="the numbers of the builds that it deletes")


class Cluster(BaseModel):
    """A worker command, and its workers."""

    id: str
    host: str
    pid: int
    queue: str
    state: Literal["active", "draining", "drained", "lost"] = Field(
        description="`drained` takes nothing more and runs nothing; `lost` was not heard of lately"
    )
    workers: int = Field(description="how many builds it runs at a time")
    busy: int
    started: Moment
    last_seen: Moment
    trouble: str
    drain_requested: Moment | None
    drain_requested_by: str | None
    processes: list[WorkerProcess]


class Started(BaseModel):
    """The build that was asked for."""

    build_id: int
    plan_id: int | None = Field(description="the plan, where more than one build was needed")


class PlannedBuild(BaseModel):
    """A build that would be made."""

    job_id: str
    reason: str
    protected: bool = Field(description="it has to be armed")
    inputs: dict[str, int | None] = Field(
        description="the build that it would use, by job; null for one of this plan"
    )


class ReusedBuild(BaseModel):
    """A build that would be used as it is."""

    job_id: str
    build_id: int
    reason: str


class BlockedJob(BaseModel):
    """A job that should be built and can't be."""

    job_id: str
    reason: str


class Preview(BaseModel):
    """What would be built, in this order, and why."""

    builds: list[PlannedBuild]
    reused: list[ReusedBuild]
    blocked: list[BlockedJob] = Field(description="if the job itself is among them: no builds")


class BuildOfPlan(BaseModel):
    """A build of a plan."""

    id: int
    job_id: str
    status: BuildModel.Status
    reason: str = Field(description="why the plan has it")
    attempt: int = Field(description="2 for the first retry")
    failure_kind: BuildModel.FailureKind | None
    start_time: Moment | None
    end_time: Moment | None
    inputs: dict[str, int] = Field(description="the build it uses, by job")


class Plan(BaseModel):
    """Builds that were asked for together."""

    id: int
    job_id: str
    state: Literal["running", "waiting", "failed", "cancelled", "success", "gone"]
    requested_by: str | None
    created: Moment
    resumes: int | None = Field(description="the plan that this one goes on with")
    resumed_by: int | None = Field(description="the plan that goes on with this one")
    builds: list[BuildOfPlan]


class ResumeRequest(BaseModel):
    """How a plan is to be resumed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    arm: bool = Field(default=False, description="yes, build its protected jobs")


class RunRequest(BaseModel):
    """How a job is to be built; every part may be left out."""

    # Strict: "arm": "no" must not arm anything.
    model_config = ConfigDict(extra="forbid", strict=True)

    args: list[Any] | None = Field(default=None, description="in place of the job's own")
    kwargs: dict[str, Any] | None = Field(default=None, description="in place of the job's own")
    dependency_builds: dict[str, Id | Literal["latest", "now"]] = Field(
        default_factory=dict,
        description="the build to use, by job, or `now` to build it first; others are the latest",
    )
    dependencies: Literal["none", "missing", "outdated", "all"] = Field(
        default="none", description="which dependencies are built first; outdated has the missing"
    )
    rebuild_reverse_dependencies: bool | list[str] = Field(
        default=False,
        description="which jobs that use it are built then: all, or these and those between",
    )
    arm: bool = Field(default=False, description="yes, build what is protected")
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_KEY,
        description="the same key again gives the same build again",
    )
