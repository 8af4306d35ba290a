"""The frame of all pages: what stands first, and how the admin's own pages write dates."""

import re
from datetime import UTC, datetime

import pytest
from django.urls import reverse

from builds import services
from builds.token_models import ApiToken
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

    assert found == [
        *("job", "configrevision", "build", "plan"),
        *("apitoken", "deletion", "scheduledrun", "cluster", "group", "user"),
    ]


def test_the_admins_own_columns_write_dates_as_our_pages_do(admin_client, admin_user, job):
    end = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    services.issue_token(token=ApiToken(name="nightly", user=admin_user, expires=end))

    page = text_of(admin_client, "admin:builds_apitoken_changelist")

    assert re.search(r"<td[^>]*field-expires[^>]*>2031-02-03 04:05:06</td>", page)


def test_revisions_say_when_they_were_read_in_the_readers_zone(admin_client, job):
    revision = ConfigRevision.objects.latest("pk")

    for name, args in (("changelist", []), ("change", [revision.pk])):
        page = text_of(admin_client, f"admin:jobs_configrevision_{name}", *args)
        assert re.search(rf'<time class="jc-time" [^>]*>{ISO}</time>', page), name
        assert "onfiguration revision" in page
