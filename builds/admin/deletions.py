"""Deletions in the admin: what was deleted, by whom, and how the cleanup went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils.safestring import SafeString

from builds import views
from builds.admin.shared import partial
from builds.models import Deletion
from jobs.admin import ReadOnlyMixin

if TYPE_CHECKING:
    DeletionAdminBase = admin.ModelAdmin[Deletion]
else:
    DeletionAdminBase = admin.ModelAdmin


@admin.register(Deletion)
class DeletionAdmin(ReadOnlyMixin, DeletionAdminBase):
    """What was deleted, by whom, and how the cleanup went."""

    list_display = ["label", "job", "outcome", "requested_by", "created"]
    list_filter = ["outcome"]
    list_select_related = ["job", "requested_by"]
    search_fields = ["job__id", "job__title"]
    show_full_result_count = False
    fields = [
        "build_number",
        "job",
        "outcome",
        "requested_by",
        "created",
        "cleanup_function",
        "log_text",
        "traceback_text",
    ]

    @admin.display(description="build", ordering="build_number")
    def label(self, deletion: Deletion) -> str:
        """The number that the build had."""
        return f"#{deletion.build_number}"

    @admin.display(description="log of the cleanup")
    def log_text(self, deletion: Deletion) -> SafeString | None:
        """What the cleanup function logged."""
        return partial("builds/_text.html", text=deletion.log) if deletion.log else None

    @admin.display(description="traceback")
    def traceback_text(self, deletion: Deletion) -> SafeString | None:
        """How the cleanup failed."""
        links = views.traceback_links(deletion.traceback)
        return partial("builds/_traceback.html", links=links) if links else None
