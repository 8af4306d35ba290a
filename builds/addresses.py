"""Addresses of pages that a list has many of: looking each up would take longer than all else."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote as url_quote

from django.contrib.admin.utils import quote
from django.urls import get_script_prefix, reverse
from django.utils.http import RFC3986_SUBDELIMS

_PLACE = "the-place-of-a-row"


def address(name: str, key: object) -> str:
    """Return the address of a row's page in the admin, as `reverse` and its `quote` write it."""
    return address_of(name, quote(str(key)))


def address_of(name: str, key: str) -> str:
    """Return what `reverse` gives for a page whose address ends in a text, or has it within."""
    place = url_quote(key, safe=RFC3986_SUBDELIMS + "/~:@")
    return _with_a_place(get_script_prefix(), name).replace(_PLACE, place, 1)


def plain(name: str) -> str:
    """Return the address of a page that is of no row."""
    return _plain(get_script_prefix(), name)


# The site may be served below a path, which each request tells.
@lru_cache(maxsize=64)
def _with_a_place(prefix: str, name: str) -> str:  # noqa: ARG001 - `reverse` knows it by itself
    return reverse(name, args=[_PLACE])


@lru_cache(maxsize=64)
def _plain(prefix: str, name: str) -> str:  # noqa: ARG001
    return reverse(name)
