"""A small site with one of everything, and the people who come to it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from builds import progress, retvals, services
from builds.deletion_models import Deletion
from builds.groups import make_groups
from builds.models import Build, BuildPayload
from builds.pages.bars import read_bars
from builds.plan_models import Plan
from builds.schedule_models import ScheduledRun
from builds.token_models import ApiToken
from jobs.models import ConfigRevision
from jobs.redaction import Redactor
from tests.support.clusters import beating
from tests.support.jobs import use_config

CONFIG = """
jobs:
  - {id: job, function: "tests.support.odd_jobs:value", args: [1]}
  - {id: guarded, protect: true, function: "tests.support.odd_jobs:value"}
"""
ROLES = ("stranger", "staff", "viewer", "operator", "manager")


@pytest.fixture(scope="module")
def site_of_all(django_db_setup, django_db_blocker):
    """The ids that addresses name, and a browser for each role.

    Made once for a module, whose tests undo what they do.
    """
    with django_db_blocker.unblock():
        yield _one_of_everything(), _people()
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture
def one_of_everything(site_of_all, db):
    """The ids that addresses name: of a job, a build and so on."""
    return site_of_all[0]


@pytest.fixture
def people(site_of_all, db):
    """A browser for each role; `staff` may log in and belongs to no group."""
    browsers = site_of_all[1]
    kept = {role: browser.cookies.copy() for role, browser in browsers.items()}
    yield browsers
    for role, browser in browsers.items():
        browser.cookies = kept[role]  # somebody may have logged out


def _one_of_everything():
    use_config(CONFIG)
    made = Build.objects.create(job_id="job", status="SUCCESSFUL")
    BuildPayload.objects.create(build=made, retval_text="1", retval=retvals.seal(made.pk, 1))
    row = progress.row_values(progress.Node(("bar",), 1, 2, "", 0), Redactor({}))
    services.store_progress(build_id=made.pk, rows=[row])
    root = User.objects.create_superuser("root")
    token = ApiToken(name="root's", user=root, expires=timezone.now() + timedelta(days=1))
    services.issue_token(token=token)
    cluster = beating()
    deletion = Deletion.objects.create(job_id="job", build_number=1_000, outcome="done")
    return SimpleNamespace(
        job=quote("job"),
        guarded=quote("guarded"),
        build=made.pk,
        branch=read_bars(made).key,
        plan=_plan_of("job").pk,
        guarded_plan=_plan_of("guarded").pk,
        other_build=Build.objects.create(job_id="job", status="FAILED").pk,
        revision=ConfigRevision.objects.latest("pk").pk,
        deletion=deletion.pk,
        run=ScheduledRun.objects.create(job_id="job", entry="x", due=timezone.now()).pk,
        user=root.pk,
        user_type=ContentType.objects.get_for_model(User).pk,
        group=Group.objects.create(name="a group").pk,
        token=token.pk,
        cluster=quote(cluster.pk),
        cluster_id=cluster.pk,
    )


def _plan_of(job_id):
    """A plan that failed."""
    plan = Plan.objects.create(job_id=job_id)
    Build.objects.create(job_id=job_id, status="FAILED", plan=plan)
    return plan


def _people():
    make_groups()
    found = {"stranger": Client()}
    for role in ROLES[1:]:
        user = User.objects.create_user(role, is_staff=True)
        if role != "staff":
            user.groups.add(Group.objects.get(name=role))
        found[role] = Client()
        found[role].force_login(user)
    return found
