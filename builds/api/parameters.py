"""Parameters of an address that the API does not know: refused, for ignoring them would mislead.

A mistyped filter would list everything, and `?cleenup=false` would clean up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse

from jobcontrol.exceptions import InvalidRequest

Endpoint = Callable[..., HttpResponse]
_SHOWN = 5  # names in one message
_SHOWN_CHARS = 100  # of each


def refusing_unknown(known: Callable[[str], Collection[str]]) -> Callable[[Endpoint], Endpoint]:
    """Return a decorator of endpoints; `known` tells an endpoint's parameters by its name."""

    def decorate(view: Endpoint) -> Endpoint:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            names = known(view.__name__)
            unknown = [name for name in request.GET if name not in names]
            if unknown:
                raise InvalidRequest("; ".join(_line(name, names) for name in unknown[:_SHOWN]))
            return view(request, *args, **kwargs)

        return wrapped

    return decorate


def _line(name: str, known: Collection[str]) -> str:
    """Return one mistake, such as `query.stats: there is no such parameter; …`."""
    shown = name[:_SHOWN_CHARS]
    near = get_close_matches(shown, known, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif known:
        hint = f"there are {', '.join(known)}."
    else:
        hint = "this address takes none."
    return f"query.{shown}: there is no such parameter; {hint}"
