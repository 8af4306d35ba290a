"""The app of what happened: builds, their logs, progress and values."""

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class BuildsConfig(AppConfig):
    """Registers builds with Django."""

    name = "builds"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Builds"

    def ready(self) -> None:
        """Have the groups made after each `migrate`."""
        from builds.groups import make_groups  # noqa: PLC0415 - models can be imported from now on

        # Sent for each app in turn; by the last one all permissions are made.
        last = list(apps.get_app_configs())[-1]
        post_migrate.connect(make_groups, sender=last, dispatch_uid="builds.groups")
