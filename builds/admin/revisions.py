"""The list of the configuration's revisions, which stays true while it is open."""

from __future__ import annotations

from django.contrib import admin

from builds.admin.shared import LongListMixin
from jobs.admin import ConfigRevisionAdmin
from jobs.models import ConfigRevision


@admin.register(ConfigRevision)
class LiveRevisionAdmin(LongListMixin, ConfigRevisionAdmin):
    """Revisions never change; new ones come in."""

    change_list_template = "builds/revisions.html"
    search_fields = ["path", "hash"]
    search_help_text = "A part of the path, or of the hash"
