"""Permissions, looked up in one query, are those that Django finds in two."""

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

from jobcontrol_site.permissions import OneQueryBackend

pytestmark = pytest.mark.django_db

OWN = ("view_build", "view_job")
OF_GROUPS = (("add_build", "view_build"), ("delete_build",))


def somebody(**options):
    """Return a user with permissions of their own, and some by two groups."""
    user = User.objects.create_user("operator", **options)
    user.user_permissions.set(Permission.objects.filter(codename__in=OWN))
    for number, names in enumerate(OF_GROUPS):
        group = Group.objects.create(name=f"group {number}")
        group.permissions.set(Permission.objects.filter(codename__in=names))
        user.groups.add(group)
    others = Group.objects.create(name="others")
    others.permissions.set(Permission.objects.filter(codename="change_user"))
    return user


@pytest.mark.parametrize(
    "options", [{}, {"is_active": False}, {"is_superuser": True}], ids=["plain", "inactive", "root"]
)
@pytest.mark.parametrize("of_an_object", [None, object()], ids=["any", "one"])
def test_what_somebody_may_do_is_what_django_says(options, of_an_object):
    user = somebody(**options)
    found = OneQueryBackend().get_all_permissions(user, of_an_object)
    again = User.objects.get(pk=user.pk)
    assert found == ModelBackend().get_all_permissions(again, of_an_object)
    assert bool(found) == (options.get("is_active", True) and of_an_object is None)


def test_a_plain_user_has_their_own_and_those_of_their_groups():
    user = User.objects.get(pk=somebody().pk)
    wanted = {"builds.view_build", "jobs.view_job", "builds.add_build", "builds.delete_build"}
    assert user.get_all_permissions() == wanted
    assert user.has_perm("builds.add_build")
    assert not user.has_perm("auth.change_user")


def test_the_user_of_a_session_comes_with_what_they_may_do(django_assert_num_queries):
    number = somebody().pk
    with django_assert_num_queries(1):
        user = OneQueryBackend().get_user(number)
        found = user.get_all_permissions()
    assert user == User.objects.get(pk=number)
    assert found == ModelBackend().get_all_permissions(User.objects.get(pk=number))


def test_a_session_without_permissions_has_none():
    user = OneQueryBackend().get_user(User.objects.create_user("operator").pk)
    assert user.get_all_permissions() == set()


@pytest.mark.parametrize("options", [{"is_active": False}, {"is_superuser": True}])
def test_the_user_of_a_session_is_the_one_that_django_finds(options):
    number = somebody(**options).pk
    found, expected = OneQueryBackend().get_user(number), ModelBackend().get_user(number)
    assert found == expected
    if expected is not None:
        assert found.get_all_permissions() == expected.get_all_permissions()


def test_nobody_has_a_number_that_nobody_has():
    assert OneQueryBackend().get_user(0) is None


def test_it_takes_one_query_however_often_it_is_asked(django_assert_num_queries):
    user = User.objects.get(pk=somebody().pk)
    with django_assert_num_queries(1):
        assert user.has_perms(["builds.view_build", "builds.add_build"])
        assert user.has_module_perms("builds")
        assert not user.has_perm("builds.change_build")


def test_a_stranger_may_do_nothing():
    assert OneQueryBackend().get_all_permissions(AnonymousUser()) == set()
