"""The pages of errors: in our words and style, with a way on, and obeying the policy."""

import re

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client

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
