"""The base of commands about jobs: they see the file as it is now."""

from __future__ import annotations

import logging
from typing import Any

from jobcontrol_site.commands import Command, quieted
from jobs import registry


class RegistryCommand(Command):
    """Brings the registry up to date first, and says on stderr what is wrong with the file.

    With a broken file the command works on the last good registry, as workers and pages do.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync if the file has changed, then run."""
        with quieted("jobs.registry", logging.ERROR):
            # What is wrong with the file is said below, in the commands' own form.
            registry.ensure_current()
        redactor = registry.redactor()
        for problem in registry.problems():
            self.warn(redactor.redact(str(problem)))
        super().handle(*args, **options)
