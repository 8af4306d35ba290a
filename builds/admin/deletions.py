"""Deletions in the admin: what was deleted, by whom, and how the cleanup went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from builds.admin.filters import ChoiceMenu
from builds.admin.live_list import LiveRowMixin
from builds.admin.shared import LongListMixin, partial
from builds.deletion_models import Deletion
from builds.models import Build
from builds.pages import refreshing
from builds.pages.build import worker_label
from builds.pages.tracebacks import traceback_links
from builds.upkeep_models import BulkDeletion
from jobs.admin import ReadOnlyMixin, is_list, rights

if TYPE_CHECKING:
    DeletionAdminBase = admin.ModelAdmin[Deletion]
else:
    DeletionAdminBase = admin.ModelAdmin


BULKS_SHOWN = 10


def _bulks() -> QuerySet[BulkDeletion]:
    return BulkDeletion.objects.filter(asked__isnull=False, ended=None)[:BULKS_SHOWN]


@admin.register(Deletion)
class DeletionAdmin(LongListMixin, LiveRowMixin, ReadOnlyMixin, DeletionAdminBase):
    """What was deleted, by whom, and how the cleanup went."""

    list_display = ["label", "state_badge", "job_link", "outcome_text", "asked"]
    list_filter = [("state", ChoiceMenu), ("outcome", ChoiceMenu)]
    list_select_related = ["job", "requested_by"]
    search_fields = ["=build_number", "job__id", "job__title"]
    search_help_text = "A build's number, or a part of a job's id or title"
    change_list_template = "builds/deletions.html"
    change_form_template = "builds/live_row.html"
    always_shown = ("build_link", "job_link", "state_badge", "cleanup_text", "asked")
    # Field → the column without which there is nothing to show.
    shown_if_there = {
        "outcome_text": "outcome",
        "ended_at": "ended",
        "worker_label": "worker",
        "traceback_text": "traceback",
        "log_text": "log",
    }

    def get_fields(self, request: HttpRequest, obj: Deletion | None = None) -> Any:  # noqa: ARG002
        """Show what there is by now."""
        found = [name for name, column in self.shown_if_there.items() if getattr(obj, column, None)]
        return [*self.always_shown, *found]

    def beside(self, request: HttpRequest, rows: Sequence[Any]) -> dict[str, Any]:  # noqa: ARG002
        """Say how far the deletions of very many builds are."""
        bulks = list(_bulks().select_related("requested_by"))
        return {
            "bulk_deletions": bulks,
            "refresh_seconds": refreshing.WAITING if bulks else self.seconds(rows),
        }

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again while one of the deletions waits or runs."""
        return refreshing.of_rows(deletion.state in Deletion.UNDER_WAY for deletion in rows)

    def look(self, rows: QuerySet[Any]) -> object:
        """Look at the deletions, and at those of very many builds."""
        bulks = list(_bulks().values_list("pk", "handed_over", "refused"))
        return bulks, list(rows.values_list("pk", "state", "outcome", "job__title"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deletion]:
        """Leave the large texts out of the list."""
        found = super().get_queryset(request).select_related("job", "requested_by")
        return found.defer("log", "traceback") if is_list(request) else found

    @admin.display(description="build")
    def label(self, deletion: Deletion) -> str:
        """The number that the build had."""
        return f"#{deletion.build_number}"

    @admin.display(description="build")
    def build_link(self, deletion: Deletion) -> SafeString:
        """The number, with a link while the build is there."""
        exists = Build.objects.filter(pk=deletion.build_number).exists()
        about = {"deletion": deletion, "exists": exists, "perms": rights(deletion)}
        return partial("builds/_build_of_deletion.html", **about)

    @admin.display(description="job")
    def job_link(self, deletion: Deletion) -> SafeString:
        """The job, with a link to it."""
        return partial("builds/_job_named.html", job=deletion.job, perms=rights(deletion))

    @admin.display(description="state")
    def state_badge(self, deletion: Deletion) -> SafeString:
        """Where it stands, in its colour."""
        return partial("builds/_deletion_state.html", deletion=deletion)

    @admin.display(description="outcome")
    def outcome_text(self, deletion: Deletion) -> str | None:
        """How the cleanup ended."""
        return deletion.get_outcome_display() or None

    @admin.display(description="cleanup function")
    def cleanup_text(self, deletion: Deletion) -> SafeString:
        """Which function was called, or would have been."""
        return partial("builds/_cleanup.html", deletion=deletion)

    @admin.display(description="asked for")
    def asked(self, deletion: Deletion) -> SafeString:
        """When and by whom."""
        return partial("builds/_asked.html", row=deletion)

    @admin.display(description="ended")
    def ended_at(self, deletion: Deletion) -> SafeString | None:
        """When it ended."""
        return partial("builds/_moment.html", at=deletion.ended) if deletion.ended else None

    @admin.display(description="worker")
    def worker_label(self, deletion: Deletion) -> str | None:
        """The process that did it."""
        return worker_label(deletion.worker) or None

    @admin.display(description="log of the cleanup")
    def log_text(self, deletion: Deletion) -> SafeString | None:
        """What the cleanup function logged."""
        return partial("builds/_text.html", text=deletion.log) if deletion.log else None

    @admin.display(description="traceback")
    def traceback_text(self, deletion: Deletion) -> SafeString | None:
        """How the cleanup failed."""
        links = traceback_links(deletion.traceback)
        return partial("builds/_traceback.html", links=links) if links else None
