"""Everything recorded about one build."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import Q, QuerySet
from django.db.models.functions import Left, Length
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import urlencode

from builds.deletion_models import Deletion
from builds.models import Build, BuildPayload
from builds.pages import refreshing
from builds.pages.build_plan import plan_part, waited_for
from builds.pages.configuration import SHOWN_CHARS, compare
from builds.pages.glance import Glance, glance_at
from builds.pages.log import log_tail
from builds.pages.progress import progress_part
from builds.pages.tabs import tab_of_build
from builds.pages.tracebacks import traceback_links
from builds.reading import read_together
from builds.status import reason
from builds.waiting import reasons
from builds.workers import WorkerIdentity
from jobs.policies import MAX_RETRIES

CONSUMERS_SHOWN = 50
CONSUMERS_COUNTED = 1_000
RETVAL_SHOWN = 20_000  # characters; the whole is a file


class Look:
    """What a build's page and its stamp are both made from, looked up once."""

    def __init__(self, build: Build) -> None:
        self.build = build

    @cached_property
    def around(self) -> Glance:
        """What is around the build."""
        return glance_at(self.build)

    @cached_property
    def inputs_awaited(self) -> list[Build]:
        """The builds whose end it waits for."""
        return waited_for(self.build)

    @cached_property
    def waits_for(self) -> str:
        """Why it has not begun."""
        limits = {self.build.job_id: self.build.job.concurrency}
        return reasons([self.build], limits).get(self.build.pk, "")


def build_page(look: Look, query: Mapping[str, str]) -> dict[str, Any]:
    """Return everything recorded about a build; `query` may ask for all of its progress."""

    def read(build: Build) -> dict[str, Any]:
        # A build that has changed since is looked at anew.
        return _build_page(look if build is look.build else Look(build), query)

    return read_together(look.build, read)


def _build_page(look: Look, query: Mapping[str, str]) -> dict[str, Any]:
    build, around = look.build, look.around
    payload = payload_without_values(build.pk)
    deletion = deletion_part(build) if around.deletion else None
    progress = progress_part(build, query, around.now)
    return {
        "build": build,
        "tab": tab_of_build(build, progress["progress"]),
        "refresh_seconds": refreshing.of_build(build, deletion["row"] if deletion else None),
        "reason": reason(build),
        "duration": build.duration(timezone.now()),
        "timeout": build.timeout.total_seconds() if build.timeout else None,
        "waits_until": _waits_until(build),
        "waits_for": look.waits_for,
        "worker": worker_label(build.worker),
        "inputs": build.inputs.select_related("job", "dep_build").order_by("pk"),
        "run_again": run_again_address(build),
        **(attempts_part(build) if around.retry or build.attempt > 1 else {"attempts": []}),
        **plan_part(build, look.inputs_awaited),
        "deletion": deletion,
        **consumers_part(build),
        "last_success": around.last_success,
        "previous_build": around.previous if around.previous != around.last_success else None,
        **_payload_part(payload, build),
        **progress,
        **log_tail(build, query),
    }


def _waits_until(build: Build) -> datetime | None:
    """Return the time before which it does not begin, while that is to come."""
    due = build.not_before
    return due if due is not None and due > timezone.now() else None


def attempts_part(build: Build) -> dict[str, Any]:
    """Return the attempts that this build is one of, if it was tried again, the first one first."""
    first = build.retry_of_id or build.pk
    every = Build.objects.filter(Q(pk=first) | Q(retry_of=first)).order_by("attempt", "pk")
    found = list(every.only("pk", "status", "attempt", "not_before")[: MAX_RETRIES + 1])
    return {"attempts": found if len(found) > 1 or build.attempt > 1 else []}


def worker_label(worker: str) -> str:
    """Return which process a stored identity means, for people."""
    identity = WorkerIdentity.parse(worker)
    return identity.label if identity else worker


def payload_without_values(number: int) -> BuildPayload | None:
    """Return a build's payload with the beginning of its return value's text only."""
    payloads = BuildPayload.objects.defer("retval", "retval_text", "retval_json").annotate(
        retval_head=Left("retval_text", RETVAL_SHOWN),
        retval_size=Length("retval_text"),
        json_size=Length("retval_json"),
    )
    return payloads.filter(pk=number).first()


def _payload_part(payload: BuildPayload | None, build: Build) -> dict[str, Any]:
    if payload is None:
        return {"payload": None, "traceback": [], "comparison": None}
    size = getattr(payload, "retval_size", 0) or 0
    return {
        "payload": payload,
        "retval_hidden": max(size - RETVAL_SHOWN, 0),
        "traceback": traceback_links(payload.traceback),
        "config_shown": payload.config_text[:SHOWN_CHARS],
        "config_hidden": max(len(payload.config_text) - SHOWN_CHARS, 0),
        "comparison": compare(payload, build.job),
    }


def consumers_of(build: Build) -> QuerySet[Build]:
    """Return the builds that used this one, newest first."""
    return Build.objects.filter(inputs__dep_build=build).newest_first()


def consumers_part(build: Build) -> dict[str, Any]:
    """Return the newest builds that used this one, and how many there are, up to a bound."""
    found = consumers_of(build)
    first = list(found.select_related("job")[: CONSUMERS_SHOWN + 1])
    count = len(first)
    if count > CONSUMERS_SHOWN:
        count = found.values("pk")[: CONSUMERS_COUNTED + 1].count()
    return {
        "consumers": first[:CONSUMERS_SHOWN],
        "consumer_count": count,
        "consumers_counted": CONSUMERS_COUNTED,
    }


def run_again_address(build: Build) -> str:
    """Return where the build form is, filled in from this build; nothing for a retired job."""
    if build.job.retired:
        return ""
    try:
        form = reverse("admin:jobs_job_build_form", args=[quote(build.job_id)])
    except NoReverseMatch:
        return ""
    return f"{form}?{urlencode({'from': build.pk})}"


def deletion_part(build: Build) -> dict[str, Any] | None:
    """Return the newest deletion of this build: it waits, runs, or failed and left the build.

    One that is done left no build to show.
    """
    deletion = (
        Deletion.objects.filter(build_number=build.pk, job=build.job_id)
        .select_related("requested_by")
        .order_by("-pk")
        .first()
    )
    if deletion is None:
        return None
    links = traceback_links(deletion.traceback)
    final_line = links[-1].info.final_line if links else ""
    return {
        "row": deletion,
        "worker": worker_label(deletion.worker),
        "traceback": links,
        "final_line": final_line,
    }
