"""Run Django's own checks, and look for models without a migration, on a site of the suite's."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from django.conf import settings
from django.core.management import CommandError, call_command

from tests import bootstrap


def main() -> int:
    """Check and return the exit code."""
    sys.stdout.write(f"Checking the site and its migrations in {bootstrap.FOLDER.name} …\n")
    django.setup()
    import_module(settings.ROOT_URLCONF)  # which finds the admin's pages, to be checked too
    try:
        call_command("check", fail_level="WARNING")
        call_command("makemigrations", check=True, dry_run=True)
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
