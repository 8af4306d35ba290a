"""The groups that a site starts with; what an administrator makes of them later stays."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission

VIEWER = (
    "jobs.view_job",
    "jobs.view_configrevision",
    "builds.view_build",
    "builds.view_plan",
    "builds.view_deletion",
    "builds.view_cluster",
    "builds.view_scheduledrun",
)
OPERATOR = (*VIEWER, "builds.run_build")
MANAGER = (
    *OPERATOR,
    "builds.run_protected_build",
    "builds.delete_build",
    "builds.download_pickle",
    "builds.drain_cluster",
)
GROUPS = {"viewer": VIEWER, "operator": OPERATOR, "manager": MANAGER}


def make_groups(**_signal: Any) -> None:
    """Make the groups that are missing, after `migrate`."""
    for name, wanted in GROUPS.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set(_permissions(wanted))


def _permissions(names: tuple[str, ...]) -> list[Permission]:
    codenames = [name.partition(".")[2] for name in names]
    every = Permission.objects.filter(codename__in=codenames).select_related("content_type")
    found = {f"{one.content_type.app_label}.{one.codename}": one for one in every}
    return [found[name] for name in names]
