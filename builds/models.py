"""What happened: builds and everything that is recorded about them.

States live in `Build.Status` and the QuerySet methods here; writes go through `builds.services`
and the recorder.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

# Parts of this module: this is where Django looks for models.
from builds import (  # noqa: F401
    deletion_models,
    plan_models,
    schedule_models,
    token_models,
    upkeep_models,
)
from builds.database_time import seconds_ago
from builds.plan_models import Plan
from jobs.fields import JSONTextField
from jobs.models import ConfigRevision, Job
from jobs.policies import DEFAULT_QUEUE, MAX_QUEUE


class BuildQuerySet(models.QuerySet["Build"]):
    """Builds by state."""

    def started(self, yes: bool = True) -> BuildQuerySet:
        """Builds that have been started (or have not)."""
        return self._by_status(Build.STARTED, yes)

    def finished(self, yes: bool = True) -> BuildQuerySet:
        """Builds whose state can't change any more (or can)."""
        return self._by_status(Build.FINISHED, yes)

    def success(self, yes: bool = True) -> BuildQuerySet:
        """Builds that ended well, skipped ones included (or did not)."""
        return self._by_status(Build.SUCCESS, yes)

    def skipped(self, yes: bool = True) -> BuildQuerySet:
        """Builds that said there was nothing to do (or did not)."""
        return self._by_status((Build.Status.SKIPPED,), yes)

    def kept(self, yes: bool = True) -> BuildQuerySet:
        """Builds that are marked to be kept (or are not)."""
        return self.filter(keep=yes)

    def running(self) -> BuildQuerySet:
        """Builds that a worker holds now."""
        return self.filter(status=Build.Status.RUNNING)

    def queued(self) -> BuildQuerySet:
        """Builds that wait for a worker."""
        return self.filter(status=Build.Status.QUEUED)

    def successful(self) -> BuildQuerySet:
        """Builds with a return value that others may use."""
        return self.filter(status=Build.Status.SUCCESSFUL)

    def usable(self) -> BuildQuerySet:
        """Successful builds that a new build may take as input."""
        return self.successful().filter(deleting=False)

    def eligible(self) -> BuildQuerySet:
        """Queued builds that may be claimed now, the next one first."""
        due = Q(not_before=None) | Q(not_before__lte=Now())
        return self.queued().filter(due, deleting=False).order_by("-priority", "id")

    def waiting(self) -> BuildQuerySet:
        """Builds that wait for other builds of their plan."""
        return self.filter(status=Build.Status.WAITING)

    def in_plan(self) -> BuildQuerySet:
        """Builds that others of their plan may wait for."""
        return self.filter(plan__isnull=False)

    def unstarted(self) -> BuildQuerySet:
        """Builds that no worker has taken yet."""
        return self.filter(status__in=Build.UNSTARTED)

    def lease_over(self, seconds: float) -> BuildQuerySet:
        """Running builds without a heartbeat for `seconds` of database time."""
        return self.running().filter(heartbeat__lt=seconds_ago(seconds))

    def newest_first(self) -> BuildQuerySet:
        """Newest request first."""
        return self.order_by("-id")

    def _by_status(self, statuses: tuple[str, ...], yes: bool) -> BuildQuerySet:
        # The others by their names, too: no index answers what is not in a list.
        wanted = [one for one in Build.Status if (one in statuses) == yes]
        return self.filter(status__in=wanted)


class Build(models.Model):
    """One run of a job: a snapshot, a lease while it runs, an outcome for ever."""

    class Status(models.TextChoices):
        """The one field that says where a build stands."""

        CREATED = "CREATED", "created"
        WAITING = "WAITING", "waiting"
        QUEUED = "QUEUED", "queued"
        RUNNING = "RUNNING", "running"
        SUCCESSFUL = "SUCCESSFUL", "successful"
        SKIPPED = "SKIPPED", "skipped"
        FAILED = "FAILED", "failed"
        CANCELLED = "CANCELLED", "cancelled"

    class Trigger(models.TextChoices):
        """Who or what asked for the build."""

        MANUAL = "manual", "build form"
        QUICK = "quick", "quick build"
        SCHEDULE = "schedule", "schedule"
        API = "api", "API"
        CLI = "cli", "command line"
        DEPENDENCY = "dependency", "plan of another job"
        RETRY = "retry", "retry"
        REBUILD = "rebuild", "automatic rebuild"
        NESTED = "nested", "another build"
        PYTHON = "python", "Python"

    class FailureKind(models.TextChoices):
        """Why a build failed."""

        EXCEPTION = "exception", "exception"
        TIMEOUT = "timeout", "timeout"
        WORKER_LOST = "worker_lost", "worker lost"
        UPSTREAM_FAILED = "upstream_failed", "upstream failed"
        SERIALIZATION = "serialization", "return value not storable"
        SHUTDOWN = "shutdown", "shutdown"

    FINISHED = (Status.SUCCESSFUL, Status.SKIPPED, Status.FAILED, Status.CANCELLED)
    UNSTARTED = (Status.CREATED, Status.WAITING, Status.QUEUED)
    UNFINISHED = (*UNSTARTED, Status.RUNNING)
    STARTED = (Status.RUNNING, *FINISHED)
    SUCCESS = (Status.SUCCESSFUL, Status.SKIPPED)

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="builds")
    status = models.CharField(max_length=10, choices=Status, default=Status.CREATED)
    trigger = models.CharField(max_length=10, choices=Trigger, default=Trigger.MANUAL)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    armed = models.BooleanField(default=False, help_text="the request armed a protected job")
    config_revision = models.ForeignKey(
        ConfigRevision, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())
    start_time = models.DateTimeField(null=True, blank=True)
    end_time = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    priority = models.IntegerField(default=0)
    queue = models.CharField(
        max_length=MAX_QUEUE, default=DEFAULT_QUEUE, help_text="which clusters may run it"
    )
    plan = models.ForeignKey(
        Plan, on_delete=models.SET_NULL, null=True, blank=True, related_name="builds"
    )
    plan_reason = models.TextField(blank=True, help_text="why the plan has it")
    worker = models.CharField(max_length=300, blank=True, help_text="see builds.workers")
    claim_token = models.UUIDField(null=True, blank=True, unique=True)
    heartbeat = models.DateTimeField(null=True, blank=True)
    in_place = models.BooleanField(default=False, help_text="run by who asked, not by a worker")
    timeout = models.DurationField(null=True, blank=True, help_text="it may run so long")
    cancel_requested = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    attempt = models.PositiveIntegerField(default=1, help_text="2 for the first retry")
    retry_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="retries",
        help_text="the first attempt",
    )
    keep = models.BooleanField(default=False, help_text="removed by nothing but its own deletion")
    deleting = models.BooleanField(default=False, help_text="a deletion of it waits or runs")
    failure_kind = models.CharField(max_length=20, choices=FailureKind, blank=True)
    exception_type = models.CharField(max_length=300, blank=True)
    exception_message = models.TextField(blank=True, help_text="of a skip: its reason")

    # No column: whether a request found this build by its nonce and made none.
    asked_before = False
    # No column either: what it waits for, where a list looked it up.
    waits_for = ""

    objects = BuildQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("run_build", "Can start builds"),
            ("run_protected_build", "Can arm and start builds of protected jobs"),
            ("download_pickle", "Can download return values as pickles"),
        ]
        indexes = [
            models.Index(fields=["job", "status", "-id"], name="builds_of_job_by_status"),
            models.Index(fields=["job", "-id"], name="builds_of_job"),
            models.Index(
                fields=["queue", "-priority", "id"],
                name="builds_to_claim",
                condition=Q(status="QUEUED"),
            ),
            models.Index(fields=["id"], name="builds_waiting", condition=Q(status="WAITING")),
            models.Index(fields=["heartbeat"], name="builds_leases", condition=Q(status="RUNNING")),
            models.Index(fields=["status", "-id"], name="builds_by_status"),
            # For the filters of the list: where few or none of a million builds match, too.
            models.Index(fields=["created"], name="builds_by_time"),
            models.Index(fields=["trigger", "-id"], name="builds_by_trigger"),
            models.Index(fields=["failure_kind", "-id"], name="builds_by_failure"),
            models.Index(fields=["-id"], name="builds_kept", condition=Q(keep=True)),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} of {self.job_id}"

    @property
    def started(self) -> bool:
        """Whether a worker has ever taken it."""
        return self.status in self.STARTED

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.status in self.FINISHED

    @property
    def success(self) -> bool:
        """Whether it ended well; a skipped build did."""
        return self.status in self.SUCCESS

    @property
    def skipped(self) -> bool:
        """Whether the job said there was nothing to do."""
        return self.status == self.Status.SKIPPED

    def duration(self, now: datetime) -> float | None:
        """Seconds from start to end, or to `now` while it runs."""
        if self.start_time is None:
            return None
        return ((self.end_time or now) - self.start_time).total_seconds()


class BuildPayload(models.Model):
    """The large values of a build, apart from it so that lists never load them."""

    build = models.OneToOneField(
        Build, on_delete=models.CASCADE, primary_key=True, related_name="payload"
    )
    config = JSONTextField(default=dict, help_text="the job's block when asked for, tagged")
    config_text = models.TextField(blank=True, help_text="the same as YAML, secrets masked")
    retval = models.BinaryField(null=True, help_text="sealed pickle (see builds.retvals)")
    retval_text = models.TextField(blank=True)
    retval_json = models.TextField(blank=True, help_text="the same as JSON, where it is JSON")
    traceback = JSONTextField(null=True, help_text="see jobcontrol.utils.tracebacks")

    def __str__(self) -> str:
        return f"payload of build #{self.build_id}"


class BuildDependency(models.Model):
    """A pinned input: `build` uses `dep_build`, the result of `job`."""

    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="inputs")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    dep_build = models.ForeignKey(
        Build, on_delete=models.SET_NULL, null=True, related_name="consumers"
    )
    # Kept when the input itself is deleted, so that history still says what was used.
    dep_build_number = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "build dependencies"
        constraints = [
            models.UniqueConstraint(fields=["build", "job"], name="builds_one_input_per_job")
        ]

    def __str__(self) -> str:
        return f"#{self.build_id} uses #{self.dep_build_number} of {self.job_id}"


class BuildProgress(models.Model):
    """One node of a build's progress tree, as the job last reported it."""

    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="progress")
    # A list of names as JSON text; "[]" is the root. Names may contain anything, "::" too.
    group_name = models.TextField()
    group_digest = models.CharField(max_length=64)
    current = models.BigIntegerField()
    total = models.BigIntegerField()
    status_line = models.TextField(blank=True)
    position = models.PositiveIntegerField(help_text="order of first appearance")
    updated = models.DateTimeField(help_text="when it was last stored, in database time")
    # What a rate is told from; empty in rows of an older version, of which none is known.
    first_current = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True, help_text="between the first report and the last")
    reports = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["build_id", "position"]
        verbose_name_plural = "build progress"
        constraints = [
            models.UniqueConstraint(
                fields=["build", "group_digest"], name="builds_one_row_per_group"
            )
        ]

    def __str__(self) -> str:
        return f"{self.group_name}: {self.current}/{self.total}"


class LogMessage(models.Model):
    """One captured log record or line of output."""

    # From this level up lines have an index of their own: of a million lines few are so, and those
    # are what people look for. The others are written without that cost.
    RARE_LEVEL = 30

    # Without an index of its own: the one by build and id serves, and each costs every line.
    build = models.ForeignKey(
        Build, on_delete=models.CASCADE, related_name="log_messages", db_index=False
    )
    created = models.DateTimeField()
    level = models.PositiveSmallIntegerField()
    logger = models.CharField(max_length=200)
    message = models.TextField()
    place = models.CharField(max_length=300, blank=True, help_text="file:line function")
    origin = models.CharField(max_length=200, blank=True, help_text="process id and thread name")
    exception = JSONTextField(null=True, help_text="see jobcontrol.utils.tracebacks")

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["build", "id"], name="builds_log_of_build"),
            models.Index(fields=["level", "created"], name="builds_log_by_age"),
            models.Index(
                fields=["build", "id"], name="builds_log_warnings", condition=Q(level__gte=30)
            ),
        ]

    def __str__(self) -> str:
        return self.message[:80]
