"""Users of the admin with just the permissions that a test is about."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


@pytest.fixture
def staff(db):
    """Make a client of a member of staff who has the named permissions (`app.codename`)."""

    def make(*permissions):
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
        for name in permissions:
            app, codename = name.split(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
        client = Client(enforce_csrf_checks=False)
        client.force_login(user)
        client.user = user
        return client

    return make


@pytest.fixture
def viewer(staff):
    """Somebody who may read everything of ours and change nothing."""
    return staff("jobs.view_job", "jobs.view_configrevision", "builds.view_build")


@pytest.fixture
def builder(staff):
    """Somebody who may read, and ask for builds."""
    return staff("jobs.view_job", "builds.view_build", "builds.run_build")
