"""Clients of the API, each with just the permissions that a test is about."""

import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from builds import services
from builds.token_models import ApiToken


class ApiClient:
    """Somebody with a token (or none); knows how ids are written into addresses."""

    def __init__(self, user=None, token=""):
        self.user = user
        self.token = token
        self.client = Client(raise_request_exception=False)

    def request(self, method, path, body=None, **headers):
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        return self.client.generic(
            method, f"/api/{path}", data, content_type="application/json", headers=headers
        )

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def delete(self, path):
        return self.request("DELETE", path)

    def put(self, path):
        return self.request("PUT", path)

    def run(self, job_id, body=None, **headers):
        return self.request("POST", f"job/{quote(job_id, safe='')}/run", body, **headers)

    def preview(self, job_id, body=None):
        return self.request("POST", f"job/{quote(job_id, safe='')}/plan", body)

    def plan(self, number, verb="", body=None):
        path = f"plan/{number}"
        return self.request("POST", f"{path}/{verb}", body) if verb else self.get(path)


def make_token(user, **options):
    token = ApiToken(
        name="test", user=user, expires=options.get("expires", timezone.now() + timedelta(days=1))
    )
    return token, services.issue_token(token=token)


@pytest.fixture
def make_user(db):
    """Make a user with the named permissions (`app.codename`)."""

    def make(*permissions, group=None, **options):
        user = User.objects.create_user(f"user{User.objects.count()}", **options)
        for name in permissions:
            app, codename = name.split(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
        if group:
            user.groups.add(Group.objects.get(name=group))
        return user

    return make


@pytest.fixture
def caller(make_user):
    """Make a client with a token of a user with the named permissions."""

    def make(*permissions, **options):
        user = make_user(*permissions, **options)
        return ApiClient(user, make_token(user)[1])

    return make


@pytest.fixture
def stranger(db):
    return ApiClient()


@pytest.fixture
def viewer(caller):
    return caller("jobs.view_job", "builds.view_build", "builds.view_deletion")


@pytest.fixture
def operator(caller):
    return caller("jobs.view_job", "builds.view_build", "builds.run_build")


@pytest.fixture
def manager(caller):
    return caller(
        "jobs.view_job",
        "builds.view_build",
        "builds.view_deletion",
        "builds.run_build",
        "builds.run_protected_build",
        "builds.delete_build",
    )
