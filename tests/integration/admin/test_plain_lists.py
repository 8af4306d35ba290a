"""The lists that Django's admin makes for us: called what they are, and they say when empty."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse

from builds.deletion_models import Deletion
from builds.token_models import ApiToken
from jobs.admin import ConfigRevisionAdmin
from jobs.models import ConfigRevision
from tests.support.jobs import build_function, use_config
from tests.support.pages import text

pytestmark = pytest.mark.django_db(transaction=True)


def heading(response):
    content = response.content.decode().partition('id="content"')[2]
    return re.search(r"<h1[^>]*>(.*?)</h1>", content)[1]


@pytest.mark.parametrize(
    ("model", "title", "empty"),
    [
        ("builds_build", "Builds", "Nothing has been built yet."),
        ("builds_deletion", "Deletions", "No build has been deleted."),
        ("builds_apitoken", "API tokens", "There is no token."),
    ],
)
def test_a_list_has_a_plain_title_and_says_that_it_is_empty(admin_client, model, title, empty):
    page = admin_client.get(reverse(f"admin:{model}_changelist"))
    assert heading(page) == title
    assert f"<title>{title} |" in page.content.decode()
    assert empty in text(page)


def test_without_any_revision_the_list_says_how_to_find_out_why(admin_client, monkeypatch):
    """Looking at it reads the file: it is empty only while the file is broken."""
    monkeypatch.setattr(
        ConfigRevisionAdmin, "get_queryset", lambda *_: ConfigRevision.objects.none()
    )
    page = admin_client.get(reverse("admin:jobs_configrevision_changelist"))
    assert heading(page) == "Configuration revisions"
    assert "No configuration has been read yet. jobcontrol-cli check-jobs tells" in text(page)


def test_a_row_that_can_only_be_read_is_titled_by_what_it_is(admin_client):
    made = build_function("tests.support.odd_jobs:value")
    row = Deletion.objects.create(build_number=made.pk, job=made.job, state="DONE")
    page = admin_client.get(reverse("admin:builds_deletion_change", args=[row.pk]))
    assert heading(page) == f"Deletion of build #{made.pk} of job"
    assert "View deletion" not in text(page)


def test_a_search_for_a_token_that_finds_nothing_leads_back(admin_client, admin_user):
    ApiToken.objects.create(
        name="mine", user=admin_user, expires=datetime(2100, 1, 1, tzinfo=UTC), digest="x"
    )
    url = reverse("admin:builds_apitoken_changelist")
    assert "No token matches." in text(admin_client.get(f"{url}?q=zebra"))


def test_who_may_not_make_tokens_is_not_led_to_that(staff):
    url = reverse("admin:builds_apitoken_changelist")
    assert "make one" in text(staff("builds.add_apitoken").get(url))
    assert "make one" not in text(staff("builds.view_apitoken").get(url))


def test_revisions_say_when_they_were_read_in_local_time(admin_client, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    use_config("jobs: []")
    row = ConfigRevision.objects.latest("pk")
    local = row.created.astimezone(ZoneInfo("Asia/Tokyo"))
    shown = f'{local:%Y-%m-%d %H:%M:%S.%f} +0900 (JST)">{local:%Y-%m-%d %H:%M:%S}</time>'
    for url in ("/admin/jobs/configrevision/", f"/admin/jobs/configrevision/{row.pk}/change/"):
        assert shown in admin_client.get(url).content.decode()
