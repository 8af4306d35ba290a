"""What a person may do, looked up once for a request."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission


class OneQueryBackend(ModelBackend):
    """Django's own backend, which asks once for what a user and the user's groups are permitted.

    Django asks for the two apart; nearly every page of a person who is no superuser needs both.
    """

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return the permissions of a user, as "app_label.codename"."""
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj)
        if not hasattr(user_obj, "_perm_cache"):
            names = Permission.objects.order_by().values_list("content_type__app_label", "codename")
            own, of_groups = names.filter(user=user_obj), names.filter(group__user=user_obj)
            user_obj._perm_cache = {f"{app}.{code}" for app, code in own.union(of_groups)}
        found: set[str] = user_obj._perm_cache
        return found
