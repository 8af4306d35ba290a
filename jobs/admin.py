"""The registry in the admin: everything can be read, nothing can be written."""
# ruff: noqa: ARG002 - the signatures are Django's

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.context_processors import PermWrapper
from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from jobs.models import ConfigRevision, Job, JobQuerySet

if TYPE_CHECKING:
    JobAdminBase = admin.ModelAdmin[Job]
    RevisionAdminBase = admin.ModelAdmin[ConfigRevision]
    AnyAdminBase = admin.ModelAdmin[Any]
else:
    JobAdminBase = RevisionAdminBase = admin.ModelAdmin
    AnyAdminBase = object


def is_list(request: HttpRequest) -> bool:
    """Tell whether a list of rows is asked for, and not the page of one."""
    match = request.resolver_match
    return match is not None and (match.url_name or "").endswith("_changelist")


class ListOfOurs(ChangeList):
    """A list that takes a filter no database can answer for what it is: a mistake."""

    @cached_property
    def is_narrowed(self) -> bool:
        """Whether a search or a filter hides rows."""
        return bool(self.query or self.has_active_filters)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Filter; what no database can be asked leads back to the list, as odd filters do."""
        values = [value for found in self.get_filters_params().values() for value in found]
        if any("\x00" in value for value in values):
            raise IncorrectLookupParameters
        rows = super().get_queryset(request, exclude_parameters)
        if values:
            _need_askable(rows)
        return rows


def _need_askable(rows: QuerySet[Any]) -> None:
    """Refuse times that are before the first or after the last one when told in UTC."""
    try:
        rows.query.sql_with_params()
    except EmptyResultSet:
        return  # it is known to find nothing
    except OverflowError as error:
        raise IncorrectLookupParameters from error


def show_to(request: HttpRequest, rows: Iterable[Any]) -> None:
    """Tell rows who reads them: their cells are made without the request (see `rights`)."""
    perms = PermWrapper(request.user)
    for row in rows:
        row.shown_to = perms


def rights(row: Any) -> PermWrapper:
    """Return what the reader of a row may do, as `perms` of its cells' templates."""
    perms: PermWrapper = row.shown_to
    return perms


class TitledMixin(AnyAdminBase):
    """Names pages by what they show, not by what Django's admin would have people do there."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Show one row."""
        if context.get("original") is not None:
            show_to(request, [context["original"]])
            context |= {"title": capfirst(str(context["original"])), "subtitle": None}
        return super().render_change_form(request, context, *args, **options)


class ReadOnlyMixin(TitledMixin):
    """Refuses every write in the admin: the configuration file is the only source."""

    change_form_template = "jobs/read_only.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Refuse."""
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Use the list that bears odd filters."""
        return ListOfOurs


class TagFilter(admin.SimpleListFilter):
    """`?tag=a&tag=b`: jobs that carry all of these tags (original #18)."""

    title = "tag"
    parameter_name = "tag"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        self.chosen: list[str] = list(params.get(self.parameter_name, []))
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every tag of the jobs in the file, and those asked for."""
        return [(tag, tag) for tag in sorted(Job.objects.active().tag_names() | set(self.chosen))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the jobs that carry all chosen tags."""
        if self.chosen and isinstance(queryset, JobQuerySet):
            return queryset.with_tags(self.chosen)
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Offer "all", then each tag: a click adds it, a click on a chosen one takes it away."""
        name = self.parameter_name
        yield {
            "selected": not self.chosen,
            "query_string": changelist.get_query_string(remove=[name]),
            "display": "All",
        }
        for tag, title in self.lookup_choices:
            is_chosen = tag in self.chosen
            others = [other for other in self.chosen if other != tag]
            wanted = others if is_chosen else [*others, tag]
            yield {
                "selected": is_chosen,
                "query_string": changelist.get_query_string({name: wanted or None}),
                "display": title,
            }


class ProblemFilter(admin.SimpleListFilter):
    """Jobs whose function can't be called, or those that are well."""

    title = "problem"
    parameter_name = "has_problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer yes and no."""
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the jobs with, or without, a problem."""
        if self.value() == "yes":
            return queryset.exclude(problem="")
        return queryset.filter(problem="") if self.value() == "no" else queryset


class JobAdmin(ReadOnlyMixin, JobAdminBase):
    """The jobs of the file, then the retired ones, in the order of the file.

    Builds add what they know of the jobs: see `builds.admin.jobs`.
    """

    search_fields = ["id", "title", "function", "tag_text", "notes"]
    search_help_text = "id, title, function, tag, notes"
    list_per_page = 30
    list_max_show_all = 0
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Leave the large texts out of the list."""
        found = super().get_queryset(request)
        # Not `config`: the pins in it decide whether a job is outdated.
        return found.defer("config_text", "docs", "notes") if is_list(request) else found


class ConfigRevisionAdmin(ReadOnlyMixin, RevisionAdminBase):
    """The configuration at each moment when it changed, newest first."""

    list_display = ["number", "read_at", "path", "summary"]
    fieldsets = [
        (None, {"fields": ["read_at", "path", "hash"]}),
        ("What changed", {"fields": ["changed_jobs"]}),
        ("Sources, secrets masked", {"fields": ["source_texts"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConfigRevision]:
        """Leave the large texts out of the list."""
        found = super().get_queryset(request)
        return found.defer("sources") if is_list(request) else found

    @admin.display(description="revision")
    def number(self, revision: ConfigRevision) -> str:
        """The number that builds name it by."""
        return f"#{revision.pk}"

    @admin.display(description="read")
    def read_at(self, revision: ConfigRevision) -> SafeString:
        """When it was read, with the exact time on hover."""
        return SafeString(render_to_string("builds/_moment.html", {"at": revision.created}))

    @admin.display(description="changes")
    def summary(self, revision: ConfigRevision) -> str:
        """How many jobs were added, changed, retired, restored."""
        counts = [f"{len(ids)} {name}" for name, ids in revision.changes.items() if ids]
        return ", ".join(counts) or "none of a job"

    @admin.display(description="jobs")
    def changed_jobs(self, revision: ConfigRevision) -> SafeString:
        """The jobs by what happened to them."""
        return SafeString(
            render_to_string(
                "jobs/_changes.html",
                {"changes": revision.changes.items(), "perms": rights(revision)},
            )
        )

    @admin.display(description="files")
    def source_texts(self, revision: ConfigRevision) -> SafeString:
        """The file and its includes."""
        return SafeString(render_to_string("jobs/_sources.html", {"sources": revision.sources}))
