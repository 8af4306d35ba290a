"""What a page says once about what was just done, with links to it.

The words and links are templates (`builds/messages`), so that whatever they name is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.safestring import SafeString

from builds.admin.shared import partial
from builds.models import Build

NAMED = 20  # builds or jobs in one message


def say(request: HttpRequest, level: int, name: str, **context: Any) -> None:
    """Say what a template of the messages makes of `context`; links are for who may follow them."""
    messages.add_message(request, level, words(request, name, **context))


def words(request: HttpRequest, name: str, **context: Any) -> SafeString:
    """Return the text of a message, as HTML in one line."""
    may = request.user.has_perm
    text = partial(
        f"builds/messages/{name}.html",
        sees_builds=may("builds.view_build"),
        sees_jobs=may("jobs.view_job"),
        sees_plans=may("builds.view_plan"),
        sees_deletions=may("builds.view_deletion"),
        **context,
    )
    # Templates have a line for each part: no tag leaves a blank before a comma or a full stop.
    return SafeString(re.sub(r"(?<=>) (?=[,.:])", "", " ".join(text.split())))


def builds_named(builds: Sequence[Build]) -> dict[str, Any]:
    """Return what templates need to name builds, the first of very many."""
    return {"builds": builds[:NAMED], "more": max(len(builds) - NAMED, 0)}
