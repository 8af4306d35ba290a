"""What a person may do, looked up once for a request."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, User
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat

from jobs.database import joined


class OneQueryBackend(ModelBackend):
    """Django's own backend, which asks once for a user and all that the user is permitted.

    Django asks three times: nearly every page of a person who is no superuser needs the user, the
    user's permissions and those of the user's groups.
    """

    def get_user(self, user_id: Any) -> User | None:
        """Return the user of a session, who is known then to be permitted what is found beside."""
        permitted = Subquery(_permitted(OuterRef(OuterRef("pk"))))
        user: Any = User.objects.annotate(permitted=permitted).filter(pk=user_id).first()
        if user is None or not self.user_can_authenticate(user):
            return None
        if not user.is_superuser:
            user._perm_cache = _set_of(user.permitted)
        return cast("User", user)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return the permissions of a user, as "app_label.codename"."""
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj)
        if not hasattr(user_obj, "_perm_cache"):
            user_obj._perm_cache = _set_of(_permitted(user_obj.pk).get()["names"])
        found: set[str] = user_obj._perm_cache
        return found


def _permitted(pk: Any) -> QuerySet[Permission, Any]:
    """Return one row: the `names` of what a user is permitted, as a text."""
    held = Q(pk__in=_held(user=pk)) | Q(pk__in=_held(group__user=pk))
    names = Concat("content_type__app_label", Value("."), "codename")
    return Permission.objects.filter(held).order_by().values(names=joined(names))


def _held(**by: Any) -> QuerySet[Permission, Any]:
    return Permission.objects.filter(**by).order_by().values("pk")


def _set_of(names: str | None) -> set[str]:
    return set(names.split(",")) if names else set()
