"""Every address of the site, asked for by everybody, compared with the table in access.py."""

import json

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.urls import get_resolver, resolve

from builds.deletion_models import Deletion
from builds.models import Build
from builds.plan_models import Plan
from builds.token_models import ApiToken
from jobs import registry
from jobs.config import Problem
from tests.integration.security.access import TABLE
from tests.integration.security.conftest import ROLES

REFUSALS = {"login", "index", "401", "403", "404", "405"}


def routes(resolver=None, start=""):
    """Every route that the site answers."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = start + str(pattern.pattern).removeprefix("^" if start else "")
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern, route)
        else:
            yield route


def route_of(row):
    names = "build other_build plan guarded_plan revision deletion run"
    names += " user user_type group token cluster cluster_id"
    ids = dict.fromkeys(names.split(), 1)
    return resolve(row.address.partition("?")[0].format(job="job", guarded="guarded", **ids))


def test_every_address_has_a_row():
    rows = {route_of(row).route for row in TABLE}
    missing = sorted(set(routes()) - rows)
    assert not missing, f"add rows to access.py for {missing}"


def test_every_row_is_about_the_address_that_it_names():
    for row in TABLE:
        assert route_of(row).view_name == row.name, row


def counts():
    return [model.objects.count() for model in (Build, Plan, Deletion, ApiToken, User, Group)]


def outcome(response):
    if response.status_code == 302:
        if response.url.startswith("/admin/login/"):
            return "login"
        return "index" if response.url == "/admin/" else "302"
    return str(response.status_code)


def ask(browser, method, address, row):
    """Ask, undo what came of it, and say how it went."""
    with transaction.atomic():
        before = counts()
        if method == "get":
            response = browser.get(address)
        elif row.content_type == "json":
            body = json.dumps(dict(row.data))
            response = browser.post(address, body, content_type="application/json")
        else:
            response = browser.post(address, row.data)
        said = outcome(response)
        may_write = method == "post" and (said == "302" or row.content_type == "json")
        if said in REFUSALS or not may_write:
            assert counts() == before, f"{said}, and yet something was written"
        if not row.data.get("arm"):
            guarded = Build.objects.filter(job_id="guarded").finished(False)
            assert not guarded.exists(), "started without arming"
        transaction.set_rollback(True)
    return said


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.address)
def test_everybody_gets_what_the_table_says(row, people, one_of_everything):
    address = row.address.format(**vars(one_of_everything))
    for method in ("get", "post"):
        found = " ".join(ask(people[role], method, address, row) for role in ROLES)
        assert found == getattr(row, method), f"{method.upper()} {address} ({', '.join(ROLES)})"


PUBLIC = {"/", "/healthz", "/admin/login/", "/admin/logout/", "/api/", "/api/nothing"}


def test_the_table_lets_strangers_see_the_login_only():
    for row in TABLE:
        found = {row.get.split()[0], row.post.split()[0]}
        allowed = {"401", "405"} if row.address.startswith("/api/") else {"login"}
        assert row.address in PUBLIC or found <= allowed, row


def test_each_group_may_do_in_the_table_what_the_one_before_may():
    for row in TABLE:
        for outcomes in (row.get.split(), row.post.split()):
            worked = [code in ("200", "302") for code in outcomes[1:]]
            assert worked == sorted(worked), row


def test_the_login_page_tells_strangers_nothing_of_the_site(client, one_of_everything, monkeypatch):
    problem = Problem("a secret mistake", "rule", job="job")
    monkeypatch.setattr(registry, "problems", lambda: (problem,))
    for address in ("/admin/login/", "/admin/jobs/job/", "/admin/nothing/"):
        text = client.get(address, follow=True).content.decode()
        assert 'name="password"' in text
        for word in (
            "a secret mistake",
            "guarded",
            "tests.support",
            "jobcontrol.yaml",
            "Traceback",
        ):
            assert word not in text


@pytest.mark.parametrize("may", ["not staff", "not active"])
def test_accounts_that_may_not_log_in_see_the_login_only(client, one_of_everything, may):
    root = User.objects.create_superuser("other")
    client.force_login(root)
    User.objects.filter(pk=root.pk).update(
        is_active=may != "not active", is_staff=may != "not staff"
    )
    assert outcome(client.get("/admin/jobs/job/")) == "login"
    assert outcome(client.get("/admin/jobs/job/graph.svg")) == "login"
