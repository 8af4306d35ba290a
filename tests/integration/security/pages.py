"""Every page that somebody may open, as addresses with samples of a large site.

Used by test_query_counts.py and `benchmarks/pages.py`. The addresses of access.py are among them,
so a new page needs a row here only for what changes its work: a filter, a search, the last page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count
from django.utils import timezone

from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, LogMessage
from builds.plan_models import Plan
from builds.progress import path_digest, path_text
from builds.schedule_models import ScheduledRun
from builds.token_models import ApiToken
from builds.upkeep_models import Cluster
from jobs.models import ConfigRevision
from tests.integration.security.access import TABLE

JOB = "job-7"  # with builds, dependencies and a schedule
GUARDED = "job-12"
PAGE_OF_BUILDS = 100  # that a click selects


def samples() -> dict[str, Any]:
    """Return what stands for `{…}` in the addresses: of the rows of a filled site."""

    def newest(**wanted: Any) -> Any:
        return Build.objects.filter(**wanted).newest_first().values_list("pk", flat=True).first()

    lines = LogMessage.objects.order_by().values("build").annotate(count=Count("pk"))
    long = lines.order_by("-count", "-build").values_list("build", flat=True)[0]
    numbers = LogMessage.objects.filter(build=long).order_by("pk")
    middle = numbers[numbers.count() // 2]
    cluster = Cluster.objects.first()
    assert cluster is not None
    inputs = BuildDependency.objects.filter(build__status="SUCCESSFUL").order_by("-pk")
    used = inputs.values_list("build_id", "dep_build_id").first()
    assert used is not None
    return {
        "job": quote(JOB),
        "guarded": quote(GUARDED),
        "build": used[0],
        "input": used[1],
        "other_build": newest(status="FAILED"),
        "running": newest(status="RUNNING", progress__isnull=False),
        "queued": newest(status="QUEUED"),
        "waiting": newest(status="WAITING"),
        "long": long,
        "line": middle.pk,
        "last_line": numbers.values_list("pk", flat=True).last(),
        "moment": f"{middle.created:%Y-%m-%dT%H:%M:%S}Z",
        "year": timezone.now().year,
        "branch": path_digest(path_text(()))[:12],
        "plan": Plan.objects.latest("pk").pk,
        "guarded_plan": Plan.objects.earliest("pk").pk,
        "revision": ConfigRevision.objects.latest("pk").pk,
        "deletion": Deletion.objects.latest("pk").pk,
        "run": ScheduledRun.objects.filter(state="STARTED").latest("pk").pk,
        "user": User.objects.earliest("pk").pk,
        "user_type": ContentType.objects.get_for_model(User).pk,
        "group": Group.objects.earliest("pk").pk,
        "token": ApiToken.objects.earliest("pk").pk,
        "cluster": quote(cluster.pk),
        "cluster_id": cluster.pk,
    }


# What GET may answer; whatever else is a mistake of the row. 4xx: an address for POST, or nobody's;
# or a picture of more than can be drawn.
ANSWERS = (200, 204, 302, 403, 404, 405, 422)

BUILDS = "/admin/builds/build/"
JOBS = "/admin/jobs/job/"
LOG = f"{BUILDS}{{long}}/log/"
MORE = [
    # --- Jobs
    *(
        f"{JOBS}?{query}"
        for query in (
            "p=2",
            "p=5",
            "all=",
            "q=number+7",
            "q=no+such+job",
            "tag=tag-3&protected__exact=0",
            "status=outdated",
            "status=success&q=7",
            "has_problem=yes",
            "retired__exact=1",
        )
    ),
    *(
        f"{JOBS}{{job}}/change/?{query}"
        for query in (
            "page=2",
            "page=100",
            "page=100000",
            "status=FAILED",
            "status=unfinished",
            "trigger=api&status=CANCELLED",
            "since={year}-01-01",
            "since=2000-01-01&until=2000-01-02",
        )
    ),
    f"{JOBS}{{guarded}}/change/",
    f"{JOBS}job-0/change/",
    f"{JOBS}job-999/change/",
    f"{JOBS}{{job}}/history/?p=2",
    f"{JOBS}{{job}}/build-form/?first=outdated",
    f"{JOBS}job-999/build-form/?first=all",
    f"{JOBS}job-0/build-form/",
    f"{JOBS}graph/?tag=tag-3",
    f"{JOBS}graph/?group=tag",
    f"{JOBS}graph/?q=number+7",
    *(f"{JOBS}grid/?{query}" for query in ("p=2", "q=number+7&tag=tag-3", "status=outdated")),
    f"{JOBS}graph.dot",
    f"{JOBS}graph.png?tag=tag-3",
    f"{JOBS}{{job}}/graph.svg",
    "/admin/jobs/configrevision/?p=2",
    "/admin/search/?q=number+7",
    "/admin/search/?q=ValueError",
    "/admin/search/?q=ValueError&before=90000",
    # --- Builds
    f"{BUILDS}compare/?left={{other_build}}&right={{build}}",
    *(
        f"{BUILDS}?{query}"
        for query in (
            "p=40",
            "p=100",
            "id__lt=5000",
            "status__exact=FAILED",
            "status__exact=CREATED",
            "status__exact=RUNNING",
            "stage=unfinished",
            "stage=finished",
            "stage=failure",
            "job__id__exact={job}",
            "job__id__exact={job}&status__exact=FAILED",
            "trigger__exact=schedule",
            "trigger__exact=nested",
            "failure_kind__exact=exception",
            "failure_kind__exact=timeout",
            "keep__exact=1",
            "since=1h",
            "since=30d",
            "since=2000-01-01&until=2000-01-02",
            "since=1d&status__exact=FAILED&trigger__exact=api",
            "q=number+7",
            "q=job",
            "q=999",
            "q=no+such+job",
            "q=number+7&status__exact=FAILED",
            "plan__id__exact={plan}",
            "inputs__dep_build__id__exact={input}",
        )
    ),
    *(
        f"{BUILDS}{{{name}}}/change/"
        for name in ("other_build", "running", "queued", "waiting", "long", "input")
    ),
    f"{BUILDS}{{running}}/change/?progress=all",
    f"{BUILDS}{{running}}/change/?open=all",
    f"{BUILDS}{{running}}/progress/?branch={{branch}}",
    *(f"{BUILDS}{{{name}}}/delete/" for name in ("long", "input", "running")),
    LOG,
    *(
        f"{LOG}?{query}"
        for query in (
            "tail=1",
            "from={line}",
            "line={line}",
            "at={moment}",
            "at=2000-01-01&q=line",
            "at={moment}&level=ERROR&q=page",
            "level=ERROR",
            "level=CRITICAL&tail=1",
            "level=INFO",
            "q=price",
            "q=nothing",
            "q=nothing&tail=1",
            "q=nothing&level=WARNING",
        )
    ),
    *(
        f"{LOG}news/?{query}"
        for query in ("after={last_line}", "after=0", "after=1&q=nothing&counts=1")
    ),
    *(
        f"{BUILDS}{{{name}}}/download/{file}"
        for name, file in (
            ("long", "log.txt"),
            ("long", "log.jsonl"),
            ("long", "log.txt?q=nothing&level=ERROR"),
            ("build", "retval.json"),
            ("build", "config.yaml"),
            ("other_build", "traceback.txt"),
        )
    ),
    # --- Plans, deletions, schedules, workers, people
    *(f"/admin/builds/plan/?{query}" for query in ("p=3", "q=number+7", "q=nothing+at+all")),
    "/admin/builds/plan/?job__id__exact={job}",
    *(
        f"/admin/builds/deletion/?{query}"
        for query in ("p=3", "p=100", "q=number+7", "q=1000500", "state__exact=FAILED")
    ),
    *(
        f"/admin/builds/scheduledrun/?{query}"
        for query in ("p=3", "p=100", "q=number+7", "q=nothing", "state__exact=MISSED")
    ),
    "/admin/builds/cluster/?p=2",
    "/admin/auth/user/?q=user-7",
    "/admin/auth/user/?p=2",
    # --- The API
    *(
        f"/api/build/?{query}"
        for query in (
            "job={job}&status=FAILED",
            "order=asc&limit=100",
            "before=5000",
            "kept=true",
            "success=false",
            "finished=false",
            "started=false&order=asc",
            "skipped=true&job={job}",
            "status=CREATED",
        )
    ),
    *(f"/api/build/{{{name}}}" for name in ("other_build", "running", "queued", "waiting")),
    *(
        f"/api/build/{{long}}/log{query}"
        for query in (
            "",
            "?after={line}&limit=100",
            "?level=ERROR",
            "?text=price",
            "?text=nothing",
            "?since={moment}",
        )
    ),
]
# Derived from the table, each once, in its order; then those that only say more.
ADDRESSES = list(dict.fromkeys([*(row.address for row in TABLE), *MORE]))


@dataclass(frozen=True)
class Question:
    """A page that comes of POST, before anything was done."""

    name: str
    address: str
    data: dict[str, Any] = field(default_factory=dict)


def questions() -> list[Question]:
    """Return them: what is asked before builds are deleted, armed or planned."""
    numbers = Build.objects.finished().newest_first().values_list("pk", flat=True)
    chosen = {"action": "delete_selected", "_selected_action": list(numbers[:PAGE_OF_BUILDS])}
    jobs = [f"job-{n}" for n in range(12, 1_000, 30)]
    form = f"{JOBS}{JOB}/build-form/"
    typed = {"args": "[1]", "kwargs": "{}", "step": ""}
    return [
        Question("delete a page of builds?", BUILDS, chosen),
        Question("arm many jobs?", f"{JOBS}arm/", {"job": jobs, "step": ""}),
        Question("the build form, filled in", form, typed),
        Question("the build form with a plan", form, {**typed, "first": "all", "after": "all"}),
    ]
