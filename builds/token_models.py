"""What lets somebody do something: tokens of the API, and what made or armed a build once.

A part of `builds.models`.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class UsedNonce(models.Model):
    """A nonce that made a build, or a token that armed one: it never does so again."""

    nonce = models.CharField(max_length=200, primary_key=True)
    build_number = models.BigIntegerField(null=True)
    created = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.nonce


class ApiToken(models.Model):
    """A token for the API, which acts for its user. Only its hash is kept."""

    name = models.CharField(max_length=100, help_text="what it is for")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="whose permissions it has",
    )
    prefix = models.CharField(max_length=16, help_text="its first characters, to recognise it")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token")
    created = models.DateTimeField(db_default=Now())
    expires = models.DateTimeField()
    last_used = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "API token"
        default_permissions = ("add", "delete", "view")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
