"""Users and groups: Django's own pages, on which nobody gains rights or gives more than they have.

Superusers do as they like. Anybody else who was allowed to change users or groups could otherwise
make themselves superusers, or take over the account of one by its password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from builds.admin.shared import ListOfOurs, user_of

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
    UserAdminBase = UserAdmin[User]
else:
    Base = object
    UserAdminBase = UserAdmin


def permissions_of(user: User) -> QuerySet[Permission]:
    """Return what a user holds, directly or by groups; also of one who is not active now."""
    if user.is_superuser:
        return Permission.objects.all()
    return Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct()


def _beyond(user: User) -> QuerySet[Permission]:
    """Return what a user does not hold."""
    return Permission.objects.exclude(pk__in=permissions_of(user).values("pk"))


class WithinOwnRights(Base):
    """Leaves alone who or what holds more than the person who asks, and offers no more."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """Use the list that bears odd filters."""
        return ListOfOurs

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse those with more rights; their page is still shown."""
        return super().has_change_permission(request, obj) and self._is_within(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse those with more rights."""
        return super().has_delete_permission(request, obj) and self._is_within(request, obj)

    def _is_within(self, request: HttpRequest, obj: User | Group | None) -> bool:
        asking = user_of(request)
        if obj is None or asking.is_superuser:
            return True
        # Each page asks several times, always for the same person.
        known: Any = obj
        if not hasattr(known, "is_within_rights"):
            known.is_within_rights = self._look_whether_within(asking, obj)
        return bool(known.is_within_rights)

    @staticmethod
    def _look_whether_within(asking: User, obj: User | Group) -> bool:
        if isinstance(obj, Group):
            return not obj.permissions.filter(pk__in=_beyond(asking)).exists()
        return not (obj.is_superuser or permissions_of(obj).filter(pk__in=_beyond(asking)).exists())

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Offer those groups and permissions that give nothing which the asking person lacks."""
        field = cast("Any", super().formfield_for_manytomany(db_field, request, **options))
        asking = user_of(request)
        if not asking.is_superuser:
            beyond = _beyond(asking)
            if db_field.related_model is Group:
                field.queryset = field.queryset.exclude(permissions__in=beyond)
            else:
                field.queryset = field.queryset.exclude(pk__in=beyond)
        return field


admin.site.unregister([User, Group])


@admin.register(User)
class OurUserAdmin(WithinOwnRights, UserAdminBase):
    """Users."""

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Let superusers alone make superusers."""
        fields = list(super().get_readonly_fields(request, obj))
        return fields if user_of(request).is_superuser else [*fields, "is_superuser"]


@admin.register(Group)
class OurGroupAdmin(WithinOwnRights, GroupAdmin):  # type: ignore[misc]  # its options are Any here
    """Groups."""
