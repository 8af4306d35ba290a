"""Characters that turn the direction of the text around them: shown, and without effect.

A job's message may hold them by accident or by intention; what follows on the page, or in the
terminal, would be shown backwards. Languages that are written from right to left do without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""What is shown in their places, for `str.translate`."""

_TURNS = rb"\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
# What people edit or copy, and where links lead, stays as it is.
_HTML = re.compile(
    rb'<textarea\b.*?</textarea>|\b(?:value|href|data-[-\w]+)="[^"]*"|(' + _TURNS + rb")",
    re.DOTALL,
)
_ANY = re.compile(_TURNS)


def _shown(found: re.Match[bytes]) -> bytes:
    return found[1].decode().translate(ESCAPES).encode() if found[1] else found[0]


class DirectionsMiddleware:
    """Shows these characters on pages, whichever template or library wrote them there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, with all of a page's characters in their places."""
        response = self.get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/html")
        if is_page and not response.streaming and _ANY.search(response.content):
            response.content = _HTML.sub(_shown, response.content)
        return response
