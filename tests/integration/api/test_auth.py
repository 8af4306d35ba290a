"""Who may come in: tokens, sessions, nobody else."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from builds import services
from builds.models import Build
from builds.token_models import ApiToken
from tests.integration.api.conftest import ApiClient, make_token
from tests.support.jobs import use_config

pytestmark = pytest.mark.django_db

HTML = "text/html; charset=utf-8"
RUN = "/api/job/echo/run"


@pytest.fixture(autouse=True)
def jobs(db):
    use_config("jobs: [{id: echo, function: 'tests.support.odd_jobs:value'}]")


@pytest.fixture
def user(make_user):
    return make_user("jobs.view_job", "builds.view_build", "builds.run_build", is_staff=True)


def post(client, body=b"", kind="application/json", **headers):
    return client.post(RUN, body, content_type=kind, headers=headers)


def status_with(header):
    return Client().get("/api/job/", headers={"Authorization": header}).status_code


# --- Tokens ---------------------------------------------------------------------------------------


def test_a_token_acts_for_its_user(user):
    _, text = make_token(user)
    assert text.startswith("jct_")
    assert len(text) == len("jct_") + 43  # 256 bits
    caller = ApiClient(token=text)
    assert caller.get("job/").status_code == 200
    assert Build.objects.get(pk=caller.run("echo").json()["build_id"]).requested_by == user
    user.user_permissions.clear()
    assert caller.get("job/").status_code == 403


def test_two_tokens_are_never_the_same(user):
    assert make_token(user)[1] != make_token(user)[1]


def test_a_token_is_kept_as_a_hash_only(user):
    token, text = make_token(user)
    stored = ApiToken.objects.filter(pk=token.pk).values().get()
    assert text not in map(str, stored.values())
    assert stored["prefix"] == text[:12]
    assert status_with(f"Bearer {stored['digest']}") == 401


def test_expired_and_revoked_tokens_and_those_of_inactive_users_are_refused(user):
    token, text = make_token(user)
    caller = ApiClient(token=text)
    assert caller.get("job/").status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert caller.get("job/").status_code == 401
    User.objects.filter(pk=user.pk).update(is_active=True)
    ApiToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert caller.get("job/").status_code == 401
    ApiToken.objects.update(expires=timezone.now() + timedelta(seconds=60))
    assert caller.get("job/").status_code == 200
    services.revoke_token(token=token)
    reply = caller.get("job/")
    assert reply.status_code == 401
    assert "not valid" in reply.json()["detail"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "jct_x", "Bearer \xff\x00", "  "]
)
def test_a_header_that_is_no_token_is_refused(header):
    assert status_with(header) == 401


def test_the_scheme_may_be_written_in_any_case(user):
    _, text = make_token(user)
    assert status_with(f"bearer {text}") == 200
    assert status_with(f"BEARER   {text} ") == 200
    assert status_with(f"Bearer {text}x") == 401


def test_a_token_keeps_the_time_when_it_was_revoked_first(user):
    token, _ = make_token(user)
    long_ago = timezone.now() - timedelta(days=3)
    ApiToken.objects.update(revoked=long_ago)
    services.revoke_token(token=token)
    assert token.revoked == long_ago


@pytest.mark.parametrize("scheme", ["Token", "Basic", "Bearerx", ""])
def test_a_token_of_another_scheme_is_refused(user, scheme):
    assert status_with(f"{scheme} {make_token(user)[1]}") == 401


def test_a_bad_token_is_not_made_good_by_a_session(user):
    client = Client()
    client.force_login(user)
    assert client.get("/api/job/", headers={"Authorization": "Bearer x"}).status_code == 401


def test_the_last_use_is_noted_once_a_minute(user, django_assert_num_queries):
    token, text = make_token(user)

    def used():
        services.user_of_token(text)
        token.refresh_from_db()
        return token.last_used

    first = used()
    assert first is not None
    assert used() == first
    with django_assert_num_queries(1):
        services.user_of_token(text)
    ApiToken.objects.update(last_used=first - timedelta(seconds=59))
    assert used() == first - timedelta(seconds=59)
    ApiToken.objects.update(last_used=first - timedelta(seconds=61))
    assert used() >= first


def test_a_refused_token_is_not_noted_as_used(user):
    token, text = make_token(user, expires=timezone.now() - timedelta(seconds=1))
    assert services.user_of_token(text) is None
    token.refresh_from_db()
    assert token.last_used is None


def test_a_token_opens_the_api_only(user):
    _, text = make_token(user)
    reply = Client().get("/admin/jobs/job/", headers={"Authorization": f"Bearer {text}"})
    assert reply.status_code == 302
    assert "/login/" in reply["Location"]


# --- Sessions -------------------------------------------------------------------------------------


@pytest.fixture
def browser(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_a_session_reads(browser):
    assert browser.get("/api/job/").status_code == 200


def test_a_session_writes_with_its_csrf_token_only(browser):
    reply = post(browser)
    assert reply.status_code == 403
    assert "CSRF" in reply.json()["detail"]
    assert browser.delete("/api/build/1").status_code == 403
    browser.cookies["csrftoken"] = "a" * 32
    assert post(browser, **{"X-CSRFToken": "b" * 32}).status_code == 403
    assert not Build.objects.exists()
    assert post(browser, **{"X-CSRFToken": "a" * 32}).status_code == 200


def test_an_empty_form_is_as_good_as_no_body(browser):
    """What `curl -d ''` and a browser's form send."""
    browser.cookies["csrftoken"] = "a" * 32
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
    ):
        assert post(browser, kind=kind, **{"X-CSRFToken": "a" * 32}).status_code == 200


def test_a_token_needs_no_csrf_token(user):
    client = Client(enforce_csrf_checks=True)
    _, text = make_token(user)
    assert post(client, Authorization=f"Bearer {text}").status_code == 200


@pytest.mark.parametrize("lacking", ["is_staff", "is_active"])
def test_a_session_that_opens_no_page_opens_no_address_of_the_api(browser, user, lacking):
    assert browser.get("/api/job/").status_code == 200
    User.objects.filter(pk=user.pk).update(**{lacking: False})
    assert browser.get("/api/job/").status_code == 401
    browser.cookies["csrftoken"] = "a" * 32
    assert post(browser, **{"X-CSRFToken": "a" * 32}).status_code == 401
    assert not Build.objects.exists()


def test_a_token_of_somebody_who_is_not_staff_is_good(make_user):
    """An account for programs needs no way into the pages."""
    caller = ApiClient(token=make_token(make_user("jobs.view_job"))[1])
    assert caller.get("job/").status_code == 200


# --- Strangers, and what goes wrong ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "job/"),
        ("GET", "job/echo"),
        ("GET", "job/echo/run"),
        ("POST", "job/echo/run"),
        ("GET", "build/"),
        ("GET", "build/1"),
        ("GET", "build/1/log"),
        ("GET", "build/1/retval"),
        ("DELETE", "build/1"),
        ("GET", "deletion/1"),
        ("GET", "openapi.json"),
    ],
)
def test_strangers_are_told_to_log_in(stranger, method, path):
    reply = stranger.request(method, path)
    assert reply.status_code == 401
    assert reply["WWW-Authenticate"].startswith("Bearer")
    assert "log in" in reply.json()["detail"]


def test_replies_are_kept_in_no_cache(operator, stranger):
    for reply in (operator.get("job/"), stranger.get("job/"), stranger.get("nothing")):
        assert "no-store" in reply["Cache-Control"]
        assert "private" in reply["Cache-Control"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_refused_in_json(operator, method):
    reply = operator.request(method, "job/")
    assert reply.status_code == 405
    assert reply["Allow"] == "GET, HEAD"
    assert reply.json() == {"detail": "this address does not know that method."}


def test_the_address_of_a_run_says_that_it_is_for_post(operator):
    for method in ("PUT", "OPTIONS"):
        assert operator.request(method, "job/echo/run")["Allow"] == "POST"


def test_head_answers_as_get_without_the_body(operator, stranger, caller):
    got, head = operator.get("job/"), operator.request("HEAD", "job/")
    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Type"] == got["Content-Type"]
    assert operator.request("HEAD", "job/nothing").status_code == 404
    assert stranger.request("HEAD", "job/").status_code == 401
    assert caller().request("HEAD", "job/").status_code == 403


def test_forms_that_can_not_be_read_are_refused_in_json(browser):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=\xff"):
        reply = post(browser, b"--x\r\nrubbish", kind)
        assert reply.status_code in (400, 403)
        assert set(reply.json()) == {"detail"}
    browser.cookies["csrftoken"] = "a" * 32
    for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        reply = post(browser, b"--x--\r\n", kind, **{"X-CSRFToken": "a" * 32})
        assert reply.status_code == 400
        assert set(reply.json()) == {"detail"}


def test_a_foreign_host_is_refused_in_json_below_api_only(client):
    reply = client.get("/api/job/", headers={"Host": "elsewhere"})
    assert reply.status_code == 400
    assert set(reply.json()) == {"detail"}
    assert client.get("/admin/", headers={"Host": "elsewhere"})["Content-Type"] == HTML


def test_too_many_fields_are_refused_in_json(operator):
    reply = operator.get("job/?" + "&".join(["x=1"] * 20_001))
    assert reply.status_code == 400
    assert set(reply.json()) == {"detail"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DatabaseError("hunter2"), 500),
        (ValueError("hunter2"), 500),
        (SuspiciousOperation("x"), 400),
    ],
)
def test_what_goes_wrong_here_is_logged_and_answered_in_json(
    operator, monkeypatch, caplog, error, status
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("builds.api.jobs.job_statuses", fail)
    reply = operator.get("job/")
    assert reply.status_code == status
    assert set(reply.json()) == {"detail"}
    assert "hunter2" not in reply.content.decode()
    logged = [record for record in caplog.records if record.name == "builds.api.errors"]
    assert [record.exc_info[1] for record in logged] == ([error] if status == 500 else [])


def test_what_goes_wrong_before_any_view_is_answered_in_json_below_api_only(operator, monkeypatch):
    def fail(**_):
        raise DatabaseError("hunter2")

    monkeypatch.setattr("jobs.middleware.registry.ensure_current", fail)
    reply = operator.get("job/")
    assert (reply.status_code, reply["Content-Type"]) == (500, "application/json")
    assert "the server's log says how" in reply.json()["detail"]
    page = Client(raise_request_exception=False).get("/admin/login/")
    assert (page.status_code, page["Content-Type"]) == (500, HTML)


def test_what_goes_wrong_while_a_token_is_looked_up_is_answered_in_json(operator, monkeypatch):
    def fail(text):
        raise DatabaseError

    monkeypatch.setattr(services, "user_of_token", fail)
    assert operator.get("job/").status_code == 500
    assert set(operator.get("job/").json()) == {"detail"}
