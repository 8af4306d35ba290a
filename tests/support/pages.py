"""Reading pages of the admin in tests."""

from __future__ import annotations

import re
from typing import Any

from django.urls import reverse

from builds.models import Build

NASTY = "<script>alert('x')</script>"

CONFIG = """
jobs:
  - id: first
    title: "A <b>title</b>"
    function: tests.support.odd_jobs:value
    args: ["<i>first</i>"]
  - id: second
    function: tests.support.odd_jobs:value
    args: [!retval first]
"""


def file_of(build: Build, name: str) -> str:
    """Return the address of one of a build's files."""
    return reverse("admin:builds_build_download", args=[build.pk, name])


def page_of(build: Build, query: str = "") -> str:
    """Return the address of a build's page."""
    return reverse("admin:builds_build_change", args=[build.pk]) + query


def text(response: Any) -> str:
    """The page's text as a reader sees it, in one line."""
    assert response.status_code == 200, response.status_code
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def markup(response: Any) -> str:
    """The page's HTML, without the white space that lays out its tags."""
    page = " ".join(response.content.decode().split())
    return re.sub(r" +(?=>)|(?<=>) (?=<)", "", page)


def nested_failure() -> None:
    """Fail as a job: a chain, a note and a group."""
    try:
        number = NASTY
        int(number)
    except ValueError as error:
        error.add_note("a note")
        raise ExceptionGroup("several", [KeyError("one"), OSError("two")]) from error
