"""The app of what may run: jobs mirrored from the configuration file."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Registers the job registry with Django."""

    name = "jobs"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Jobs"
