"""The app of what may run: jobs mirrored from the configuration file."""

import sys
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.models.signals import post_migrate

from jobcontrol.exceptions import JobControlException
from jobs.logformat import mask_with


class JobsConfig(AppConfig):
    """Registers the job registry with Django and syncs it after `migrate`."""

    name = "jobs"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Jobs"

    def ready(self) -> None:
        """Make the jobs' modules importable, and have `migrate` sync the registry."""
        from jobs.registry import (  # noqa: PLC0415 - models are not loaded earlier
            extend_sys_path,
            redactor,
        )

        mask_with(lambda text: redactor().redact(text))
        extend_sys_path(settings.JOBCONTROL_SITE.python_path)
        post_migrate.connect(self._sync, sender=self)

    def _sync(self, using: str, **kwargs: Any) -> None:
        """Sync after `migrate`. A wrong file is told, and does not undo the migration."""
        # `flush` sends this signal too, without a plan; it asked for empty tables.
        if using != DEFAULT_DB_ALIAS or "plan" not in kwargs or not self._has_tables():
            return
        from jobs.registry import sync  # noqa: PLC0415 - see ready()

        try:
            report = sync()
        except (JobControlException, DatabaseError) as error:
            for line in str(error).splitlines():
                sys.stderr.write(f"jobcontrol: {line}\n")
            return
        if kwargs.get("verbosity", 1) and not report.is_empty:
            stdout = kwargs.get("stdout") or sys.stdout
            stdout.write(f"Jobs of the configuration file: {report}\n")

    def _has_tables(self) -> bool:
        wanted = {model._meta.db_table for model in self.get_models()}
        return wanted <= set(connection.introspection.table_names())
