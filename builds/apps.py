"""The app of what happened: builds, their logs, progress and values."""

from django.apps import AppConfig


class BuildsConfig(AppConfig):
    """Registers builds with Django."""

    name = "builds"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Builds"
