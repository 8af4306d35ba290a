"""Hands job authors' objects to the builds app when Django starts."""

from django.apps import AppConfig


class JobControlAppConfig(AppConfig):
    """The import paths of job authors."""

    name = "jobcontrol"
    verbose_name = "JobControl"

    def ready(self) -> None:
        """Register the factory of the objects that job code sees."""
        from builds import context  # noqa: PLC0415 - models can be imported from now on
        from jobcontrol import core  # noqa: PLC0415

        context.register(core.AuthorObjects())
