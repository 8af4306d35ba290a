"""Users of the site whom a command is asked to act for."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from jobcontrol.exceptions import InvalidRequest, NotFound
from jobcontrol.utils.text import clean_text

ARMING = "builds.run_protected_build"


def asking_user(name: str | None, *needed: str) -> Any:
    """Return the user of this name, None for none.

    Raises NotFound for one who is not there or not active, InvalidRequest for one who lacks one of
    the permissions that are needed.
    """
    if name is None:
        return None
    users = get_user_model()
    user = users.objects.filter(**{users.USERNAME_FIELD: clean_text(name)}).first()
    if user is None or not user.is_active:
        raise NotFound(f"there is no active user {name!r}")
    require(user, *needed)
    return user


def require(user: Any, *needed: str) -> None:
    """Raise InvalidRequest, naming what is missing, unless the user (or nobody) may do that."""
    missing = [] if user is None else [name for name in needed if not user.has_perm(name)]
    if missing:
        who = user.get_username()
        raise InvalidRequest(f"{who!r} may not do that: {', '.join(missing)} is needed.")
