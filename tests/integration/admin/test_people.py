"""Users and groups: nobody gains rights there, nor gives more than they have."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from builds.groups import make_groups

pytestmark = pytest.mark.django_db

PEOPLE = [
    f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")
]
PASSWORD = "correct-horse-battery"  # noqa: S105 - of a test


def permission(codename):
    return Permission.objects.get(codename=codename)


@pytest.fixture
def clerk(db):
    """Somebody who looks after users and groups, and may view jobs."""
    make_groups()
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(permission(name) for name in [*PEOPLE, "view_job"])
    return user


@pytest.fixture
def browser(clerk):
    client = Client()
    client.force_login(clerk)
    return client


@pytest.fixture
def root(db):
    return User.objects.create_superuser("root")


def page(user, what="change"):
    return reverse(f"admin:auth_{user._meta.model_name}_{what}", args=[user.pk])


def form(user, **changes):
    """What the page of a user sends."""
    joined = user.date_joined
    return {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": f"{joined:%Y-%m-%d}",
        "date_joined_1": f"{joined:%H:%M:%S}",
        "groups": list(user.groups.values_list("pk", flat=True)),
        "user_permissions": list(user.user_permissions.values_list("pk", flat=True)),
        **changes,
    }


def passwords(browser, user):
    address = reverse("admin:auth_user_password_change", args=[user.pk])
    fields = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    return browser.post(address, fields)


def test_people_with_no_more_rights_are_looked_after(browser, clerk):
    added = browser.post(
        reverse("admin:auth_user_add"),
        {
            "username": "new",
            "password1": PASSWORD,
            "password2": PASSWORD,
            "usable_password": "true",
        },
    )
    assert added.status_code == 302
    new = User.objects.get(username="new")
    given = form(new, is_staff="on", user_permissions=[permission("view_job").pk])
    assert browser.post(page(new), given).status_code == 302
    new.refresh_from_db()
    assert new.is_staff
    assert [found.codename for found in new.user_permissions.all()] == ["view_job"]
    assert passwords(browser, new).status_code == 302
    new.refresh_from_db()
    assert new.check_password(PASSWORD)
    assert browser.post(page(new, "delete"), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="new").exists()


@pytest.mark.parametrize("whose", ["own", "another's"])
def test_nobody_makes_superusers_but_superusers(browser, clerk, root, whose):
    user = clerk if whose == "own" else User.objects.create_user("other")
    text = browser.get(page(user)).content.decode()
    assert 'name="is_active"' in text
    assert 'name="is_superuser"' not in text
    browser.post(page(user), form(user, is_superuser="on"))
    user.refresh_from_db()
    assert not user.is_superuser
    theirs = Client()
    theirs.force_login(root)
    theirs.post(page(user), form(user, is_superuser="on"))
    user.refresh_from_db()
    assert user.is_superuser


@pytest.mark.parametrize("whose", ["own", "another's"])
def test_nobody_gives_permissions_that_they_lack(browser, clerk, whose):
    user = clerk if whose == "own" else User.objects.create_user("other")
    before = set(user.user_permissions.all())
    offered = browser.get(page(user)).context["adminform"].form.fields
    assert {found.codename for found in offered["user_permissions"].queryset} == {
        *PEOPLE,
        "view_job",
    }
    assert (
        not offered["groups"].queryset.filter(name__in=["viewer", "operator", "manager"]).exists()
    )
    for field, wanted in (
        ("user_permissions", permission("run_build")),
        ("groups", Group.objects.get(name="manager")),
    ):
        reply = browser.post(page(user), form(user, **{field: [wanted.pk]}))
        assert reply.status_code == 200, "no mistake was found"
        assert "is not one of the available choices" in reply.content.decode()
    assert set(user.user_permissions.all()) == before
    assert not user.groups.exists()


def somebody_beyond(kind):
    user = User.objects.create_user("other", is_active=kind != "inactive")
    if kind == "superuser":
        User.objects.filter(pk=user.pk).update(is_superuser=True)
    elif kind == "by group":
        user.groups.add(Group.objects.get(name="operator"))
    else:
        user.user_permissions.add(permission("delete_build"))
    user.refresh_from_db()
    return user


@pytest.mark.parametrize("kind", ["superuser", "by group", "by permission", "inactive"])
def test_the_account_of_somebody_with_more_rights_can_be_looked_at_only(browser, clerk, kind):
    user = somebody_beyond(kind)
    assert browser.get(page(user)).status_code == 200
    assert 'name="_save"' not in browser.get(page(user)).content.decode()
    assert browser.post(page(user), form(user, username="mine")).status_code == 403
    assert passwords(browser, user).status_code == 403
    assert browser.post(page(user, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": user.pk, "post": "yes"}
    browser.post(reverse("admin:auth_user_changelist"), chosen)
    kept = User.objects.get(pk=user.pk)
    assert (kept.username, kept.password) == (user.username, user.password)


def test_a_group_is_changed_by_those_only_who_have_what_it_gives(browser, clerk):
    own = Group.objects.create(name="own")
    assert (
        browser.post(
            page(own), {"name": "own", "permissions": [permission("view_job").pk]}
        ).status_code
        == 302
    )
    reply = browser.post(page(own), {"name": "own", "permissions": [permission("run_build").pk]})
    assert "is not one of the available choices" in reply.content.decode()
    assert [found.codename for found in own.permissions.all()] == ["view_job"]
    manager = Group.objects.get(name="manager")
    assert browser.get(page(manager)).status_code == 200
    assert browser.post(page(manager), {"name": "x", "permissions": []}).status_code == 403
    assert browser.post(page(manager, "delete"), {"post": "yes"}).status_code == 403
    reply = browser.post(
        reverse("admin:auth_group_add"),
        {"name": "new", "permissions": [permission("run_build").pk]},
    )
    assert reply.status_code == 200
    assert not Group.objects.filter(name="new").exists()


def test_a_superuser_sees_and_gives_everything(root):
    make_groups()
    browser = Client()
    browser.force_login(root)
    other = User.objects.create_superuser("other")
    fields = browser.get(page(other)).context["adminform"].form.fields
    assert fields["user_permissions"].queryset.count() == Permission.objects.count()
    assert fields["groups"].queryset.count() == 3
    assert passwords(browser, other).status_code == 302


@pytest.mark.parametrize("part", ["%00", "%ED%A0%80", "%F0%9F%97%9D", "'\""])
@pytest.mark.parametrize(
    "name", ["auth_user", "auth_group", "builds_apitoken", "jobs_configrevision", "builds_deletion"]
)
def test_odd_searches_and_filters_find_nothing_or_are_refused(root, name, part):
    browser = Client()
    browser.force_login(root)
    address = reverse(f"admin:{name}_changelist")
    for query in (
        f"q={part}",
        f"is_staff__exact={part}",
        f"name={part}",
        f"name__startswith={part}",
        f"hash__startswith={part}",
        f"username__startswith={part}",
        f"o={part}",
        f"p={part}",
        f"{part}={part}",
    ):
        assert browser.get(f"{address}?{query}", follow=True).status_code == 200, query
