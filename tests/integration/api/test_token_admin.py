"""Tokens in the admin: made, shown once, revoked, by those who may."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from builds import services
from builds.token_models import ApiToken
from tests.integration.api.conftest import ApiClient, make_token

pytestmark = pytest.mark.django_db

ADD = reverse("admin:builds_apitoken_add")
LIST = reverse("admin:builds_apitoken_changelist")


def page_of(token):
    return reverse("admin:builds_apitoken_change", args=[token.pk])


def revoke_of(token):
    return reverse("admin:builds_apitoken_revoke", args=[token.pk])


def form(**values):
    return {"name": "nightly", "expires_0": "2099-01-31", "expires_1": "12:00:00", **values}


def browser_of(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def maker(make_user):
    return make_user("builds.add_apitoken", "jobs.view_job", is_staff=True)


@pytest.fixture
def root(make_user):
    return make_user(is_staff=True, is_superuser=True)


def test_a_token_is_shown_once_and_only_its_hash_is_kept(maker):
    browser = browser_of(maker)
    assert browser.get(ADD).status_code == 200
    reply = browser.post(ADD, form())
    (text,) = set(re.findall(r"jct_[\w-]+", reply.content.decode()))
    assert "no-store" in reply["Cache-Control"]
    token = ApiToken.objects.get()
    assert (token.name, token.user) == ("nightly", maker)
    assert text.startswith(token.prefix)
    assert text not in repr(ApiToken.objects.values())
    assert ApiClient(token=text).get("job/").status_code == 200
    for address in (LIST, page_of(token)):
        page = browser.get(address).content.decode()
        assert token.prefix in page
        assert text not in page
        assert token.digest not in page
    assert LogEntry.objects.get().is_addition()
    assert text not in LogEntry.objects.get().change_message


def test_the_form_offers_ninety_days(maker):
    page = browser_of(maker).get(ADD).content.decode()
    assert f"{timezone.localtime() + timedelta(days=90):%Y-%m-%d}" in page


def test_a_token_that_is_over_already_is_not_made(maker):
    reply = browser_of(maker).post(ADD, form(expires_0="2001-01-01"))
    assert "choose a time to come" in reply.content.decode()
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_a_token_does_not_outlive_the_calendar(maker, settings, zone):
    settings.TIME_ZONE = zone
    reply = browser_of(maker).post(ADD, form(expires_0="9999-12-31", expires_1="23:59:59"))
    assert "within the next 100 years" in reply.content.decode()
    assert not ApiToken.objects.exists()


def test_only_a_superuser_makes_tokens_for_others(maker, root, make_user):
    other = make_user()
    assert 'name="user"' not in browser_of(maker).get(ADD).content.decode()
    browser_of(maker).post(ADD, form(user=other.pk))
    assert ApiToken.objects.get().user == maker
    assert 'name="user"' in browser_of(root).get(ADD).content.decode()
    browser_of(root).post(ADD, form(user=other.pk))
    assert ApiToken.objects.first().user == other


def test_no_token_is_made_for_somebody_inactive(root, make_user):
    gone = make_user(is_active=False)
    browser_of(root).post(ADD, form(user=gone.pk))
    assert not ApiToken.objects.exists()


def test_others_can_neither_make_nor_see_tokens(make_user, root):
    token, _ = make_token(root)
    browser = browser_of(make_user("jobs.view_job", "builds.view_build", is_staff=True))
    assert browser.get(ADD).status_code == 403
    assert browser.post(ADD, form()).status_code == 403
    assert browser.get(LIST).status_code == 403
    assert browser.get(page_of(token)).status_code == 403
    assert browser.post(revoke_of(token)).status_code == 403
    assert ApiToken.objects.filter(revoked=None).count() == 1


def test_everybody_sees_their_own_tokens_and_a_superuser_all(maker, root):
    own, _ = make_token(maker)
    foreign, _ = make_token(root)
    browser = browser_of(maker)
    page = browser.get(LIST).content.decode()
    assert own.prefix in page
    assert foreign.prefix not in page
    assert browser.get(page_of(foreign)).status_code == 302
    browser.post(revoke_of(foreign))
    browser.post(LIST, {"action": "revoke_selected", "_selected_action": foreign.pk})
    foreign.refresh_from_db()
    assert foreign.revoked is None
    page = browser_of(root).get(LIST).content.decode()
    assert own.prefix in page
    assert foreign.prefix in page


def test_a_token_is_revoked_on_its_page(maker):
    token, text = make_token(maker)
    browser = browser_of(maker)
    assert revoke_of(token) in browser.get(page_of(token)).content.decode()
    assert browser.get(revoke_of(token)).status_code == 405
    browser.post(revoke_of(token))
    token.refresh_from_db()
    first = token.revoked
    assert first is not None
    assert ApiClient(token=text).get("job/").status_code == 401
    assert "revoked" in browser.get(page_of(token)).content.decode()
    assert revoke_of(token) not in browser.get(page_of(token)).content.decode()
    assert LogEntry.objects.get().get_change_message() == "Revoked."
    browser.post(revoke_of(token))
    token.refresh_from_db()
    assert token.revoked == first


def test_tokens_are_revoked_from_the_list(maker):
    tokens = [make_token(maker)[0], make_token(maker)[0]]
    chosen = {"action": "revoke_selected", "_selected_action": [token.pk for token in tokens]}
    browser_of(maker).post(LIST, chosen)
    assert not ApiToken.objects.filter(revoked=None).exists()
    assert LogEntry.objects.count() == 2


def test_a_token_can_not_be_changed(maker):
    token, _ = make_token(maker)
    assert browser_of(maker).post(page_of(token), form(name="other")).status_code == 403
    token.refresh_from_db()
    assert token.name == "test"


def test_the_list_tells_which_tokens_are_worthless(root, make_user):
    make_token(root)
    make_token(root, expires=timezone.now() - timedelta(seconds=1))
    gone = make_user()
    make_token(gone)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    page = browser_of(root).get(LIST).content.decode()
    states = re.findall(r'field-state">([^<]*)<', page)
    assert states == ["its user is not active", "expired", "valid"]


def test_a_user_with_tokens_can_be_deleted_by_a_superuser(root, make_user):
    other = make_user()
    make_token(other)
    reply = browser_of(root).post(
        reverse("admin:auth_user_delete", args=[other.pk]), {"post": "yes"}
    )
    assert reply.status_code == 302
    assert not ApiToken.objects.exists()


def test_only_superusers_delete_tokens(maker):
    token, _ = make_token(maker)
    address = reverse("admin:builds_apitoken_delete", args=[token.pk])
    assert browser_of(maker).post(address, {"post": "yes"}).status_code == 403
    assert ApiToken.objects.exists()


def test_a_name_full_of_html_is_escaped(maker):
    reply = browser_of(maker).post(ADD, form(name="<script>alert(1)</script>"))
    assert "<script>alert" not in reply.content.decode()
    assert "<script>alert" not in browser_of(maker).get(LIST).content.decode()


def test_the_form_has_one_button_and_leads_nowhere_else(admin_client):
    """What comes after it is the token, shown once: nothing may be added or edited in between."""
    page = admin_client.get("/admin/builds/apitoken/add/").content.decode()
    assert 'name="_save"' in page
    for other in ("_addanother", "_continue", "related-widget-wrapper-link"):
        assert other not in page


def test_tokens_are_filtered_by_what_they_are_worth(admin_client, admin_user):
    now = timezone.now()
    for name, expires, revoked in (
        ("good", now + timedelta(days=1), None),
        ("old", now - timedelta(days=1), None),
        ("gone", now + timedelta(days=1), now),
    ):
        services.issue_token(
            token=ApiToken(name=name, user=admin_user, expires=expires, revoked=revoked)
        )
    for state, wanted in (("valid", "good"), ("expired", "old"), ("revoked", "gone")):
        found = admin_client.get(LIST, {"state": state}).context["cl"].result_list
        assert [token.name for token in found] == [wanted]
    assert len(admin_client.get(LIST, {"state": "odd"}).context["cl"].result_list) == 3
