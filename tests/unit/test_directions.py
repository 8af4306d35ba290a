"""Characters that turn the text around them are shown, and turn nothing."""

from __future__ import annotations

import pytest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import RequestFactory

from jobcontrol_site.directions import DirectionsMiddleware

TURNS = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


def answered(response: HttpResponse) -> HttpResponseBase:
    return DirectionsMiddleware(lambda _: response)(RequestFactory().get("/"))


def shown(page: str) -> str:
    response = answered(HttpResponse(page))
    assert isinstance(response, HttpResponse)
    return response.content.decode()


@pytest.mark.parametrize("turn", TURNS, ids=ascii)
def test_they_are_shown_in_texts_and_tooltips(turn: str) -> None:
    escape = f"\\u{ord(turn):04x}"
    page = f'<p title="a{turn}b">שלום {turn}c {turn}</p>'
    assert shown(page) == page.replace(turn, escape)


@pytest.mark.parametrize(
    "kept",
    [
        "<textarea name='a' rows=1>\na\u202eb\n</textarea>",
        '<input value="a\u202eb">',
        '<button data-copy="\u2066 &quot;x&quot;">',
        '<a href="/\u202e/">',
        "<p>עברית \u200e(\u200f1) ‰ …</p>",
    ],
)
def test_what_is_edited_copied_or_no_danger_stays(kept: str) -> None:
    assert shown(f"{kept}<p>\u202e</p>") == f"{kept}<p>\\u202e</p>"


def test_other_replies_stay() -> None:
    text = HttpResponse("a\u202eb", content_type="text/plain; charset=utf-8")
    assert answered(text) is text
    assert text.content.decode() == "a\u202eb"
    stream = StreamingHttpResponse(["a\u202eb"])
    DirectionsMiddleware(lambda _: stream)(RequestFactory().get("/"))  # type: ignore[arg-type,return-value]
    assert stream.getvalue().decode() == "a\u202eb"
