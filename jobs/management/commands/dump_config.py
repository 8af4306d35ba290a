"""`dump_config`: the configuration file as Jinja expanded it, secrets masked."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from jobcontrol_site.commands import Command as BaseCommand
from jobs import tags
from jobs.config import load_file
from jobs.dumping import masked_text
from jobs.secrets import redactor_of


class Command(BaseCommand):
    """Shows the file after Jinja; needs no database."""

    help = "Print the configuration file as Jinja expanded it, with every secret masked."

    def run(self, **options: Any) -> None:
        """Print the YAML text; as JSON: path, hash, text and the block of each job."""
        configuration = load_file(str(settings.JOBCONTROL_CONFIG))
        redactor = redactor_of(configuration)
        data = {
            "path": configuration.path,
            "hash": configuration.hash,
            "text": masked_text(configuration.expanded, redactor),
            "jobs": [tags.encode(spec.config, redactor) for spec in configuration.jobs],
        }
        self.emit(data, human=lambda found: str(found["text"]))
