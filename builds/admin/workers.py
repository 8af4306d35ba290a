"""Workers in the admin: hosts, their clusters, what each worker runs; draining a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from builds import context_processors, history, services
from builds.admin.live_list import LiveListMixin, LiveRowMixin
from builds.admin.shared import partial, user_of
from builds.context_processors import worker_command
from builds.crews import builds_in_place, crews, with_now
from builds.pages import refreshing
from builds.pages.build import worker_label
from builds.pages.list_stamps import workers_look
from builds.upkeep_models import Cluster
from jobs.admin import ReadOnlyMixin

if TYPE_CHECKING:
    ClusterAdminBase = admin.ModelAdmin[Cluster]
else:
    ClusterAdminBase = admin.ModelAdmin

MAY_DRAIN = "builds.drain_cluster"
IN_PLACE_SHOWN = 50


@admin.register(Cluster)
class ClusterAdmin(LiveListMixin, LiveRowMixin, ReadOnlyMixin, ClusterAdminBase):
    """Hosts, their clusters, what each worker runs."""

    list_per_page = 25
    list_max_show_all = 0
    show_full_result_count = False
    sortable_by = ()
    actions = None
    search_fields = ["host", "queue"]
    search_help_text = "A part of a host's name or of a queue's"
    change_list_template = "builds/workers.html"
    change_form_template = "builds/cluster.html"
    fields = [
        "host", "pid", "queue", "state", "workers", "started", "last_seen", "trouble", "drain"
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        """Bring what tells who is lost."""
        return with_now(super().get_queryset(request))

    def beside(self, request: HttpRequest, rows: Sequence[Any]) -> dict[str, Any]:
        """Bring the clusters of this page by host, and the builds that run in no cluster."""
        found = crews(rows)
        every = groupby(found, key=lambda crew: crew.cluster.host)
        in_place = builds_in_place(IN_PLACE_SHOWN + 1)
        is_busy = bool(in_place) or any(crew.busy for crew in found)
        return {
            "hosts": [(host, list(group)) for host, group in every],
            "in_place": [(worker_label(one.worker), one) for one in in_place[:IN_PLACE_SHOWN]],
            "more_in_place": len(in_place) > IN_PLACE_SHOWN,
            "may_drain": request.user.has_perm(MAY_DRAIN),
            "start_command": worker_command(),
            "refresh_seconds": refreshing.WAITING if is_busy else self.seconds(rows),
        }

    def look(self, rows: QuerySet[Any]) -> object:
        """Look at the clusters, at what their workers run, and at what runs in none."""
        return workers_look(rows)

    def seconds(self, rows: Sequence[Any]) -> float:
        """Look soon again at a cluster that is being drained."""
        return refreshing.of_rows(cluster.drain_requested is not None for cluster in rows)

    @admin.display(description="state")
    def state(self, cluster: Cluster) -> SafeString:
        """Whether it takes builds."""
        return partial("builds/_crew_state.html", state=crews([cluster])[0].state)

    @admin.display(description="drained")
    def drain(self, cluster: Cluster) -> SafeString | None:
        """When that was asked for, and by whom."""
        if cluster.drain_requested is None:
            return None
        return partial("builds/_crew_drain.html", cluster=cluster)

    # --- draining ---

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the button."""
        drain = path(
            "<path:object_id>/drain/",
            self.admin_site.admin_view(self.drain_view),
            name="builds_cluster_drain",
        )
        return [drain, *super().get_urls()]

    @method_decorator(require_POST)
    def drain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Drain a cluster, or take it up again."""
        if not (self.has_view_permission(request) and request.user.has_perm(MAY_DRAIN)):
            raise PermissionDenied
        cluster = self.get_object(request, unquote(object_id))
        if cluster is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        with transaction.atomic():
            if request.POST.get("drain") == "no":
                if services.undrain_cluster(cluster=cluster):
                    history.note(request.user, cluster, history.UNDRAINED)
            elif services.drain_cluster(cluster=cluster, requested_by=user_of(request)):
                history.note(request.user, cluster, history.DRAINED)
        context_processors.forget()  # or the next page might deny it
        return HttpResponseRedirect(reverse("admin:builds_cluster_changelist"))
