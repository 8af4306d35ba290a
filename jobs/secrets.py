"""The secrets of this process: the file's own, and the passwords of the settings."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from django.conf import settings

from jobs.config import Configuration
from jobs.redaction import Redactor


def redactor_of(configuration: Configuration | None) -> Redactor:
    """Return the Redactor of the settings' secrets and of those in `configuration`.

    The settings' are named SECRET_KEY, DATABASE_URL (its password), REDIS_URL (its password); a
    secret of the file that bears one of these names keeps it, ours is then `settings.NAME`.
    """
    secrets: dict[str, object] = dict(configuration.secrets) if configuration else {}
    for name, value in {**_of_settings(), **_of_site(configuration)}.items():
        if value and value not in secrets.values():
            secrets[name if name not in secrets else f"settings.{name}"] = value
    return Redactor(secrets)


def _of_settings() -> dict[str, str]:
    found = {
        "SECRET_KEY": str(settings.SECRET_KEY),
        "DATABASE_URL": str(settings.DATABASES["default"].get("PASSWORD") or ""),
        "REDIS_URL": password_in(str(getattr(settings, "REDIS_URL", "") or "")),
    }
    for index, key in enumerate(settings.SECRET_KEY_FALLBACKS):
        found[f"SECRET_KEY_FALLBACKS.{index}"] = str(key)
    return found


def _of_site(configuration: Configuration | None) -> dict[str, str]:
    """Return what the file's sections hold, also where the environment beats them."""
    if configuration is None:
        return {}
    site = configuration.site
    return {
        "storage": password_in(site.storage or ""),
        "webapp.SECRET_KEY": str(site.webapp.get("SECRET_KEY") or ""),
        "celery.BROKER_URL": password_in(str(site.celery.get("BROKER_URL") or "")),
    }


def password_in(url: str) -> str:
    """Return the password of a URL as it is before URL-encoding; "" when there is none."""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
