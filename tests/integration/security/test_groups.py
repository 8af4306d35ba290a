"""The groups that `migrate` makes: once, and never again what an administrator changed."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from builds.groups import GROUPS, MANAGER, OPERATOR, VIEWER, make_groups

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def groups(transactional_db):
    """Other tests empty the tables."""
    Group.objects.all().delete()
    make_groups()


def permissions_of(name):
    found = Permission.objects.filter(group__name=name)
    return {
        f"{app}.{codename}"
        for app, codename in found.values_list("content_type__app_label", "codename")
    }


def migrate():
    call_command("migrate", verbosity=0)


def test_migrate_makes_the_groups_with_their_permissions():
    Group.objects.all().delete()
    migrate()
    assert {name: permissions_of(name) for name in GROUPS} == {
        name: set(wanted) for name, wanted in GROUPS.items()
    }


def test_each_group_may_do_all_that_the_one_before_may_and_more():
    assert set(VIEWER) < set(OPERATOR) < set(MANAGER)
    assert all(codename.partition(".")[2].startswith("view_") for codename in VIEWER)
    assert set(OPERATOR) - set(VIEWER) == {"builds.run_build"}


def test_nobody_of_the_groups_may_write_users_or_the_registry():
    for name in MANAGER:
        app, _, codename = name.partition(".")
        assert app in ("jobs", "builds")
        assert app != "jobs" or codename.startswith("view_")


def test_migrate_leaves_edited_groups_as_they_are():
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.remove(Permission.objects.get(codename="view_deletion"))
    viewer.permissions.add(Permission.objects.get(codename="add_user"))
    Group.objects.get(name="manager").permissions.clear()
    migrate()
    wanted = {*VIEWER, "auth.add_user"} - {"builds.view_deletion"}
    assert permissions_of("viewer") == wanted
    assert permissions_of("manager") == set()
    assert Group.objects.get(name="viewer").pk == viewer.pk


def test_migrate_makes_a_group_that_is_missing_again():
    Group.objects.get(name="operator").delete()
    migrate()
    assert permissions_of("operator") == set(OPERATOR)
    assert Group.objects.filter(name__in=GROUPS).count() == 3
