"""The pages of errors: in our words and style, with a way on, and obeying the policy."""

import re

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError
from django.test import Client

from jobcontrol_site.logs import NameErrors

pytestmark = pytest.mark.django_db


@pytest.fixture
def nobody(db):
    """Somebody who may log in and nothing else."""
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    browser.force_login(User.objects.create_user("nobody", is_staff=True))
    return browser


def words(response, status):
    assert response.status_code == status
    text = response.content.decode()
    assert "JobControl</title>" in text
    assert "Django" not in text
    assert 'href="/admin/"' in text
    assert not re.search(r"<style|\sstyle=|\son\w+=", text), "the policy refuses that"
    assert all("src=" in tag for tag in re.findall(r"<script\b[^>]*>", text))
    return re.search(r"<h1>(.*?)</h1>", text)[1]


def test_what_is_not_there(client, nobody):
    assert words(client.get("/nothing/"), 404) == "Nothing here"
    for address in ("/admin/nothing/", "/admin/jobs/"):
        assert words(nobody.get(address), 404) == "Nothing here"


def test_what_is_not_permitted(nobody):
    reply = nobody.get("/admin/jobs/job/")
    assert words(reply, 403) == "Not permitted"
    assert "lacks the permission" in reply.content.decode()


def test_a_form_from_elsewhere(client, nobody):
    for browser in (Client(enforce_csrf_checks=True), nobody):
        reply = browser.post("/admin/login/", {"username": "x", "password": "y"})
        assert words(reply, 403) == "Form not accepted"


def test_a_request_that_can_not_be_read(client):
    assert (
        words(client.get("/admin/", headers={"Host": "elsewhere"}), 400) == "Request not understood"
    )


def test_who_is_logged_in_finds_the_way_on_from_an_error(client, nobody):
    for address in ("/nothing/", "/admin/nothing/", "/admin/jobs/job/"):
        assert 'action="/admin/search/"' in nobody.get(address).text
    reply = nobody.post("/admin/login/", {"username": "x", "password": "y"})
    assert 'action="/admin/search/"' in reply.text
    assert "action=" not in client.get("/nothing/").text


def test_the_page_of_a_failure_and_the_log_name_it_alike(nobody, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("hunter2")

    monkeypatch.setattr("jobs.middleware.registry.ensure_current", fail)
    caplog.handler.addFilter(NameErrors())
    names = set()
    for _ in range(2):
        caplog.clear()
        reply = nobody.get("/admin/jobs/job/")
        name = reply.headers["X-Error-Id"]
        assert f"<code>{name}</code>" in reply.text
        (line,) = [one for one in caplog.records if one.exc_info]
        assert line.getMessage() == f"Internal Server Error: /admin/jobs/job/ (error {name})"
        names.add(name)
    assert len(names) == 2


def test_a_database_that_is_away_is_told_without_asking_it(
    nobody, monkeypatch, django_assert_num_queries
):
    def fail(**_):
        raise OperationalError("hunter2")

    monkeypatch.setattr("jobs.middleware.registry.ensure_current", fail)
    with django_assert_num_queries(0):
        reply = nobody.get("/admin/jobs/job/")
    assert words(reply, 503) == "The database does not answer"
    assert reply.headers["Retry-After"]
    assert reply.headers["X-Error-Id"] in reply.text
    assert "hunter2" not in reply.text


def test_what_went_wrong_here_even_without_a_database(
    nobody, monkeypatch, django_assert_num_queries
):
    def fail(**_):
        raise DatabaseError("hunter2")

    monkeypatch.setattr("jobs.middleware.registry.ensure_current", fail)
    with django_assert_num_queries(0):
        reply = nobody.get("/admin/jobs/job/")
    assert words(reply, 500) == "That went wrong on our side"
    assert b"hunter2" not in reply.content
