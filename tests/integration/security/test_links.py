"""Pages link to nothing that is refused to their reader, whatever he may not see."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from builds import retvals
from builds.deletion_models import Deletion
from builds.models import Build, BuildDependency, BuildPayload
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun
from jobs.models import ConfigRevision
from tests.support.clusters import beating, main_of, worker_of
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

CONFIG = """
jobs:
  - {id: first, function: "tests.support.odd_jobs:value", schedule: every 1h}
  - {id: second, function: "tests.support.odd_jobs:value", dependencies: [first]}
  - {id: broken, function: "tests.support.odd_jobs:there_is_none"}
"""
MODELS = ["job", "build", "plan", "scheduledrun", "deletion", "cluster", "configrevision"]


@pytest.fixture
def addresses(db):
    """Pages of a site on which everything belongs to something else."""
    use_config(CONFIG)
    now = timezone.now()
    cluster = beating("host", workers=2)
    plan, over = Plan.objects.create(job_id="second"), Plan.objects.create(job_id="second")
    Build.objects.create(job_id="second", status="FAILED", plan=over, end_time=now)
    used = Build.objects.create(job_id="first", status="SUCCESSFUL", start_time=now, end_time=now)
    BuildPayload.objects.create(build=used, retval=retvals.seal(used.pk, 1))
    failed = Build.objects.create(
        job_id="second", status="FAILED", plan=plan, start_time=now, end_time=now
    )
    again = Build.objects.create(job_id="second", status="QUEUED", retry_of=failed, attempt=2)
    runs = Build.objects.create(
        job_id="second",
        status="RUNNING",
        plan=plan,
        start_time=now,
        worker=str(worker_of(main_of("host"))),
    )
    waits = Build.objects.create(job_id="second", status="WAITING", plan=plan)
    for user, need in ((failed, used), (runs, used), (waits, runs)):
        BuildDependency.objects.create(
            build=user, job_id=need.job_id, dep_build=need, dep_build_number=need.pk
        )
    deletion = Deletion.objects.create(job_id="first", build_number=used.pk)
    run = ScheduledRun.objects.create(
        job_id="first", entry="x", due=now, state="STARTED", build=used, build_number=used.pk
    )
    ScheduledRun.objects.create(job_id="first", entry="x", due=now + timedelta(minutes=1))
    keys = {
        "jobs_job": "first",
        "jobs_configrevision": ConfigRevision.objects.latest("pk").pk,
        "builds_plan": plan.pk,
        "builds_deletion": deletion.pk,
        "builds_scheduledrun": run.pk,
        "builds_cluster": quote(cluster.pk),
    }
    builds = [used, failed, again, runs, waits]
    return [
        reverse("admin:index"),
        f"{reverse('admin:search')}?q=first",
        reverse("admin:jobs_graph"),
        reverse("admin:jobs_grid"),
        reverse("admin:builds_build_changelist"),
        *(reverse("admin:builds_build_change", args=[build.pk]) for build in builds),
        *(reverse(f"admin:{name}_changelist") for name in keys),
        *(reverse(f"admin:{name}_change", args=[key]) for name, key in keys.items()),
        reverse("admin:jobs_job_change", args=["second"]),
        reverse("admin:builds_build_delete", args=[used.pk]),
        reverse("admin:jobs_job_build_form", args=["second"]),
        reverse("admin:builds_plan_resume", args=[over.pk]),
        f"{reverse('admin:builds_build_compare')}?left={failed.pk}&right={runs.pk}",
    ]


def _reader(unseen: str = "") -> Client:
    """Return the browser of somebody who may do all but see one thing, and is no superuser."""
    user = User.objects.create_user("operator", is_staff=True)
    without = [f"view_{unseen}", f"change_{unseen}"]
    user.user_permissions.set(Permission.objects.exclude(codename__in=without))
    client = Client()
    client.force_login(user)
    return client


def _links(page: str) -> set[str]:
    return {unescape(one) for one in re.findall(r'<a\b[^>]*?\bhref="([^"]*)"', page, re.S)}


@pytest.mark.parametrize("model", MODELS)
def test_no_link_of_a_page_is_refused(addresses, model):
    reader = _reader(model)
    pages = {address: reader.get(address) for address in addresses}
    shown = {address: page.text for address, page in pages.items() if page.status_code == 200}
    assert shown.keys() < pages.keys()
    leads = {
        urlsplit(urljoin(address, link)).path: address
        for address, text in shown.items()
        for link in _links(text)
    }
    refused = {
        link: page
        for link, page in leads.items()
        if link.startswith("/admin/") and reader.get(link).status_code in (403, 404)
    }
    assert not refused


def test_who_may_see_all_finds_links_from_each_to_the_other(addresses):
    """Or the test above would find nothing because there is nothing."""
    reader = _reader()
    assert {reader.get(address).status_code for address in addresses} == {200}
    build = reverse("admin:builds_build_change", args=[Deletion.objects.get().build_number])
    job = reverse("admin:jobs_job_change", args=["first"])
    for row in (Deletion.objects.get(), ScheduledRun.objects.get(state="STARTED")):
        name = f"admin:builds_{row._meta.model_name}"
        page = reader.get(reverse(f"{name}_change", args=[row.pk]))
        assert {build, job} <= _links(page.text)
        assert job in _links(reader.get(reverse(f"{name}_changelist")).text)
