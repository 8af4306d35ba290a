"""What every admin page shows about the configuration file."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from jobs import registry
from jobs.config import ConfigError, Problem


def configuration(request: HttpRequest) -> dict[str, Any]:
    """Give `configuration_problems` and `configuration_warnings` (texts) to logged-in staff.

    Both are lists of lines for people, secrets masked; for anybody else they are empty.
    """
    user = getattr(request, "user", None)
    if user is None or not (user.is_active and user.is_staff):
        return {"configuration_problems": [], "configuration_warnings": []}
    return {
        "configuration_problems": _lines(
            registry.problems() + tuple(settings.JOBCONTROL_SITE.problems)
        ),
        "configuration_warnings": _lines(_warnings()),
    }


def configuration_facts() -> object:
    """Return what `configuration` tells of, unmasked: for a fingerprint, not to be shown."""
    return registry.problems(), _warnings()


def _warnings() -> tuple[Problem, ...]:
    try:
        return registry.configuration().warnings
    except ConfigError:
        return ()  # there never was a good file: its problems are shown


def _lines(problems: tuple[Problem, ...]) -> list[str]:
    redactor = registry.redactor()
    return list(dict.fromkeys(redactor.redact(str(problem)) for problem in problems))
