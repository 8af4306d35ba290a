"""What every reply of the real site tells the browser."""

import pytest
from django.test import Client, override_settings

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = (
    "/",
    "/admin/",
    "/admin/login/",
    "/admin/jobs/job/",
    "/admin/nothing/",
    "/nothing/",
    "/static/builds/builds.css",
    "/static/builds/icons/idle.svg",
    "/admin/jobs/job/graph.svg",
    "/admin/jsi18n/",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_reply_has_the_headers(admin_client, client, address):
    for browser in (admin_client, client):
        headers = browser.get(address).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "geolocation=()" in headers["Permissions-Policy"]


def test_pages_for_those_who_are_logged_in_are_kept_by_nobody(admin_client):
    assert "private" in admin_client.get("/admin/jobs/job/").headers["Cache-Control"]


def test_plain_http_works_by_default_and_is_led_to_https_when_asked(client):
    assert client.get("/admin/login/").status_code == 200
    with override_settings(SECURE_SSL_REDIRECT=True, SECURE_HSTS_SECONDS=60):
        browser = Client()
        response = browser.get("/admin/login/")
        assert (response.status_code, response.url) == (301, "https://testserver/admin/login/")
        assert "Content-Security-Policy" in response.headers
        secure = browser.get("/admin/login/", secure=True)
        assert secure.headers["Strict-Transport-Security"] == "max-age=60"


def test_a_proxy_is_believed_only_where_that_was_chosen(client):
    says_https = {"X-Forwarded-Proto": "https"}
    with override_settings(SECURE_SSL_REDIRECT=True):
        assert Client().get("/admin/login/", headers=says_https).status_code == 301
        with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
            assert Client().get("/admin/login/", headers=says_https).status_code == 200


def test_cookies_are_hidden_from_scripts_and_from_other_sites(client, django_user_model):
    django_user_model.objects.create_superuser("root", password="a-password-for-tests")
    fields = {"username": "root", "password": "a-password-for-tests"}
    response = client.post("/admin/login/", fields)
    cookie = response.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert not cookie["secure"]


def test_forms_from_elsewhere_are_refused(django_user_model):
    root = django_user_model.objects.create_superuser("root")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(root)
    assert browser.post("/admin/jobs/job/", {"action": "build_selected"}).status_code == 403
