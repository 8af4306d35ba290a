"""The registry in the database: a read-only mirror of the configuration file.

Only `jobs.registry` writes these rows. Every other write is refused, whichever way it comes
(`save`, `delete`, `QuerySet.update`, `bulk_create`, the admin, fixtures), so that the file stays
the only source of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import models
from django.db.models.functions import StrIndex

from jobcontrol.exceptions import ReadOnlyRegistry
from jobs.fields import JSONTextField
from jobs.policies import DEFAULT_QUEUE, MAX_QUEUE

MAX_LABEL = 200  # characters of a title that pages show; the job's YAML has all of it

_writing: ContextVar[bool] = ContextVar("jobs_registry_writing", default=False)
_M = TypeVar("_M", bound=models.Model)


@contextmanager
def registry_writes() -> Iterator[None]:
    """Allow writes to the registry in this context. For `jobs.registry` alone."""
    token = _writing.set(True)
    try:
        yield
    finally:
        _writing.reset(token)


def refuse_unless_syncing() -> None:
    """Raise ReadOnlyRegistry outside of `registry_writes`."""
    if not _writing.get():
        raise ReadOnlyRegistry


class MirrorQuerySet(models.QuerySet[_M]):
    """A QuerySet that refuses to write outside a sync."""

    def create(self, **kwargs: Any) -> _M:
        """Refuse, or create within a sync."""
        refuse_unless_syncing()
        return super().create(**kwargs)

    def update(self, **kwargs: Any) -> int:
        """Refuse, or update within a sync."""
        refuse_unless_syncing()
        return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse, or delete within a sync."""
        refuse_unless_syncing()
        return super().delete()

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[_M]:
        """Refuse, or insert within a sync."""
        refuse_unless_syncing()
        return super().bulk_create(*args, **kwargs)

    def _update(self, values: Any) -> int:
        refuse_unless_syncing()
        return super()._update(values)  # type: ignore[misc, no-any-return]

    def _raw_delete(self, using: str | None) -> int:
        refuse_unless_syncing()
        deleted: int = super()._raw_delete(using)
        return deleted


class MirrorModel(models.Model):
    """A row that only the sync may write."""

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Refuse, or save within a sync (fixtures come this way too)."""
        refuse_unless_syncing()
        super().save_base(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse, or delete within a sync."""
        refuse_unless_syncing()
        return super().delete(*args, **kwargs)


class JobQuerySet(MirrorQuerySet["Job"]):
    """Jobs by their place in the file."""

    def active(self) -> JobQuerySet:
        """Jobs that stand in the file now."""
        return self.filter(retired=False)

    def retired(self) -> JobQuerySet:
        """Jobs that stood in the file once; their builds stay."""
        return self.filter(retired=True)

    def with_tags(self, tags: list[str]) -> JobQuerySet:
        """Jobs that carry every one of `tags`."""
        found = self
        for tag in tags:
            # Not `contains`, which ignores the case of letters on SQLite.
            place = StrIndex("tag_text", models.Value(f"\n{tag}\n"))
            found = found.alias(place=place).filter(place__gt=0)
        return found

    def tag_names(self) -> set[str]:
        """Return the tags of these jobs: each set of tags is read once, however many carry it."""
        texts = self.exclude(tag_text="").order_by().values_list("tag_text", flat=True).distinct()
        return {tag for text in texts for tag in text.strip("\n").split("\n\n")}


class Job(MirrorModel):
    """One job of the configuration file, as it stood at the last good sync."""

    id = models.CharField(primary_key=True, max_length=200)
    title = models.TextField(blank=True)
    notes = models.TextField(blank=True, help_text="reStructuredText from the file")
    function = models.CharField(max_length=500)
    config = JSONTextField(
        default=dict, help_text="the job's block of the file, tagged (see jobs.tags)"
    )
    config_text = models.TextField(blank=True, help_text="the block as YAML, secrets masked")
    config_hash = models.CharField(max_length=64)
    tags = JSONTextField(default=list)
    # Each tag between newlines: SQLite has no containment lookup for JSON.
    tag_text = models.TextField(blank=True, editable=False)
    protected = models.BooleanField(default=False)
    priority = models.IntegerField(default=0)
    concurrency = models.PositiveIntegerField(null=True, help_text="builds at the same time")
    queue = models.CharField(max_length=MAX_QUEUE, default=DEFAULT_QUEUE)
    rebuilds_itself = models.BooleanField(default=False, help_text="rebuild: auto")
    schedules = JSONTextField(default=list, help_text="see jobs.schedules")
    position = models.PositiveIntegerField(default=0)
    retired = models.BooleanField(default=False)
    problem = models.TextField(blank=True, help_text="why the job can't run, if it can't")
    docs = JSONTextField(
        default=dict, blank=True, help_text="{signature, docstring} of the function"
    )
    synced_at = models.DateTimeField()

    objects = JobQuerySet.as_manager()

    class Meta(MirrorModel.Meta):
        ordering = ["retired", "position", "id"]
        indexes = [models.Index(fields=["retired", "position", "id"], name="jobs_in_file_order")]

    def __str__(self) -> str:
        return self.id

    @property
    def label(self) -> str:
        """The title, or the id where there is none; never long, for it stands in many places."""
        title = self.title
        return (title if len(title) <= MAX_LABEL else f"{title[: MAX_LABEL - 1]}…") or self.id

    @property
    def first_tag(self) -> str:
        """The first of its tags, "" where there is none."""
        return self.tag_text.strip("\n").split("\n", 1)[0]


class JobDependency(MirrorModel):
    """`job` needs a successful build of `depends_on` before it can be built."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dependency_links")
    depends_on = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dependent_links")
    position = models.PositiveIntegerField(default=0)

    objects = MirrorQuerySet["JobDependency"].as_manager()

    class Meta(MirrorModel.Meta):
        ordering = ["job_id", "position"]
        verbose_name_plural = "job dependencies"
        constraints = [
            models.UniqueConstraint(fields=["job", "depends_on"], name="jobs_one_link_per_pair")
        ]

    def __str__(self) -> str:
        return f"{self.job_id} needs {self.depends_on_id}"


class ConfigRevision(MirrorModel):
    """The configuration at one moment: its redacted sources and what changed."""

    hash = models.CharField(max_length=64, help_text="SHA-256 of the expanded text")
    created = models.DateTimeField()
    path = models.TextField(blank=True)
    sources = JSONTextField(
        default=list, help_text="[{path, text}]: the file, then its includes; secrets masked"
    )
    changes = JSONTextField(
        default=dict, help_text="{added, changed, retired, restored}: lists of job ids"
    )

    objects = MirrorQuerySet["ConfigRevision"].as_manager()

    class Meta(MirrorModel.Meta):
        ordering = ["-id"]
        verbose_name = "configuration revision"

    def __str__(self) -> str:
        return f"revision #{self.pk} of the configuration"
