"""The frame of all pages: what stands first, and how the admin's own pages write dates."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from builds import history
from jobs.models import ConfigRevision, Job
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db(transaction=True)

ISO = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def job(transactional_db):
    use_config('jobs: [{id: crawl, function: "tests.support.odd_jobs:value"}]')
    return Job.objects.get(pk="crawl")


def text_of(client, name, *args):
    return client.get(reverse(name, args=args)).content.decode()


def test_jobs_and_builds_stand_before_users_and_groups(admin_client, job):
    index = text_of(admin_client, "admin:index")

    found = re.findall(r'<tr class="model-(\w+)', index.partition('id="content-main"')[2])

    assert found == ["job", "configrevision", "build", "apitoken", "deletion", "group", "user"]


def test_the_history_of_a_job_writes_dates_as_all_other_pages_do(admin_client, job):
    history.note(get_user_model().objects.get(username="admin"), job, "Armed a build.")

    page = text_of(admin_client, "admin:jobs_job_history", job.pk)

    assert re.search(rf'<th scope="row">{ISO}</th>', page)


def test_revisions_say_when_they_were_read_in_the_readers_zone(admin_client, job):
    revision = ConfigRevision.objects.latest("pk")

    for name, args in (("changelist", []), ("change", [revision.pk])):
        page = text_of(admin_client, f"admin:jobs_configrevision_{name}", *args)
        assert re.search(rf'<time class="jc-time" [^>]*>{ISO}</time>', page), name
        assert "onfiguration revision" in page
