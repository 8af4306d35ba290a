"""Tokens of the API: 256 random bits, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from builds.database_time import seconds_ago
from builds.token_models import ApiToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User

START = "jct_"  # by which people, and programs that look for leaked tokens, know one
_RANDOM_BYTES = 32
_PREFIX_CHARS = 12
_NOTED_SECONDS = 60.0  # `last_used` is no more exact than that: not every request shall write


def issue_token(*, token: ApiToken) -> str:
    """Save a new token (its name, user and expiry are set) and return its text.

    The text is not kept and can't be had again.
    """
    text = START + secrets.token_urlsafe(_RANDOM_BYTES)
    token.prefix = text[:_PREFIX_CHARS]
    token.digest = _digest(text)
    token.save(force_insert=True)
    return text


def revoke_token(*, token: ApiToken) -> None:
    """Make a token worthless from now on; once revoked, it keeps the time of it."""
    ApiToken.objects.filter(pk=token.pk, revoked=None).update(revoked=Now())
    token.refresh_from_db(fields=["revoked"])


def user_of_token(text: str) -> User | None:
    """Return the active user for whom a valid token acts, and note that it was used."""
    valid = ApiToken.objects.filter(revoked=None, expires__gt=Now(), user__is_active=True)
    token = valid.select_related("user").filter(digest=_digest(text)).first()
    if token is None:
        return None
    if _was_long_ago(token):
        unused = Q(last_used=None) | Q(last_used__lt=seconds_ago(_NOTED_SECONDS))
        ApiToken.objects.filter(unused, pk=token.pk).update(last_used=Now())
    return token.user


def _was_long_ago(token: ApiToken) -> bool:
    age = timedelta(seconds=_NOTED_SECONDS)
    return token.last_used is None or timezone.now() - token.last_used > age


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
