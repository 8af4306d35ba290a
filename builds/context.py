"""The execution context: what `current_app`, `current_job` and `current_build` mean in a build.

The objects that job code sees are made by `jobcontrol.core`, an edge that this package must not
import; it hands its factory in when Django starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from builds.models import Build
from jobcontrol import globals as context_state


class AuthorApi(Protocol):
    """What job authors' objects are made with."""

    def execution_context(self, build: Build) -> context_state.ExecutionContext:
        """Return the context of a running build."""
        ...

    def build_info(self, build: Build, *, retval: Any = ...) -> Any:
        """Return the build as cleanup and repr functions get it; `retval` spares loading it."""
        ...


class _Registered:
    api: AuthorApi | None = None


def register(api: AuthorApi) -> None:
    """Set the factory; called once when Django starts."""
    _Registered.api = api


def author_api() -> AuthorApi:
    """Return the factory."""
    if _Registered.api is None:
        raise RuntimeError("the app 'jobcontrol' is missing from INSTALLED_APPS")
    return _Registered.api


@contextmanager
def active(build: Build) -> Iterator[None]:
    """Make `build` the current one: for the process if none is running, else nested."""
    context = author_api().execution_context(build)
    is_outermost = context_state.get() is None
    if is_outermost:
        # Threads that the job starts belong to the build too.
        context_state.set_process_context(context)
    context_state.push(context)
    try:
        yield
    finally:
        context_state.pop(context)
        if is_outermost:
            context_state.set_process_context(None)
