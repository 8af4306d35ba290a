"""What runs now: `current_app`, `current_job`, `current_build`, `execution_context`.

Job modules import these at their top, outside any build; each is a proxy that looks up the running
build at every use. The context is found on a stack of its own for each thread and asynchronous
task (nested builds, tests) and, where that is empty, is the one of the whole process: so threads
that a job starts see the build they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from operator import attrgetter
from typing import Any, Protocol, cast

from jobcontrol.exceptions import NotInBuild

__all__ = [
    "ExecutionContext",
    "current_app",
    "current_build",
    "current_job",
    "execution_context",
    "get",
    "pop",
    "push",
    "set_process_context",
]


class ExecutionContext(Protocol):
    """What a running build offers to the code of its job."""

    @property
    def current_app(self) -> Any:
        """The `jobcontrol.core.JobControl` that runs the build."""

    @property
    def current_job(self) -> Any:
        """The `jobcontrol.core.JobInfo` of the job being built."""

    @property
    def current_build(self) -> Any:
        """The `jobcontrol.core.BuildInfo` of the build."""

    @property
    def job_id(self) -> str:
        """The id of the job."""

    @property
    def build_id(self) -> int:
        """The number of the build."""


class _Process:
    """The base that every thread of this process sees."""

    __slots__ = ("context",)

    def __init__(self) -> None:
        self.context: ExecutionContext | None = None


_process = _Process()
_stack: ContextVar[tuple[ExecutionContext, ...]] = ContextVar("jobcontrol_contexts", default=())
_contexts_here = _stack.get


def get() -> ExecutionContext | None:
    """Return the context of the build that runs here, None outside a build."""
    contexts = _contexts_here()
    return contexts[-1] if contexts else _process.context


def push(context: ExecutionContext) -> None:
    """Make `context` the current one of this thread (or asynchronous task) until `pop`."""
    _stack.set((*_contexts_here(), context))


def pop(context: ExecutionContext) -> None:
    """Take `context` off the stack, with all that was left above it.

    A job that pushed a context and forgot it must not change what the next build sees.
    Raises RuntimeError when `context` is not on the stack of this thread.
    """
    contexts = _contexts_here()
    for position in reversed(range(len(contexts))):
        if contexts[position] is context:
            _stack.set(contexts[:position])
            return
    raise RuntimeError(
        "this context was not pushed here: pop it once, in the thread or task that pushed it"
    )


def set_process_context(context: ExecutionContext | None) -> None:
    """Make `context` the one that all threads with an empty stack see; None for none."""
    _process.context = context


class _NotInBuildError(NotInBuild, AttributeError):
    """For `_names`, which tools try on whatever a module holds (hasattr, isinstance, mock).

    Being an AttributeError it lets them go on: a job's module can be inspected and patched
    where no build runs.
    """


class _Proxy:
    """Stands for a part of the current context; everything is forwarded to it."""

    __slots__ = ("_proxy_name", "_proxy_pick")
    _proxy_name: str
    _proxy_pick: Callable[[ExecutionContext], Any]

    def __init__(self, name: str, pick: Callable[[ExecutionContext], Any]) -> None:
        object.__setattr__(self, "_proxy_name", name)
        object.__setattr__(self, "_proxy_pick", pick)

    def __getattr__(self, name: str) -> Any:
        # The lookup of `get()`, written out: this is the path of every use in job code.
        contexts = _contexts_here()
        context = contexts[-1] if contexts else _process.context
        if context is None:
            if name.startswith("_"):
                raise _NotInBuildError(self._proxy_name)
            raise NotInBuild(self._proxy_name)
        return getattr(self._proxy_pick(context), name)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        # Outside a build the proxy's own, for the same tools.
        return _Proxy if get() is None else cast("type[Any]", _behind(self).__class__)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_behind(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_behind(self), name)

    def __dir__(self) -> list[str]:
        return dir(_behind(self))

    def __repr__(self) -> str:
        return f"<unbound {self._proxy_name}>" if get() is None else repr(_behind(self))

    def __str__(self) -> str:
        return str(_behind(self))

    def __format__(self, spec: str) -> str:
        return format(_behind(self), spec)

    def __eq__(self, other: object) -> bool:
        return cast("bool", _behind(self) == other)

    def __ne__(self, other: object) -> bool:
        return cast("bool", _behind(self) != other)

    def __hash__(self) -> int:
        return hash(_behind(self))

    def __bool__(self) -> bool:
        return bool(_behind(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _behind(self)(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return _behind(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        _behind(self)[key] = value

    def __delitem__(self, key: Any) -> None:
        del _behind(self)[key]

    def __contains__(self, item: Any) -> bool:
        return item in _behind(self)

    def __len__(self) -> int:
        return len(_behind(self))

    def __iter__(self) -> Iterator[Any]:
        return iter(_behind(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies and pickles are of the object itself, not of a proxy that would look elsewhere.
        return _behind(self).__reduce_ex__(protocol)


def _behind(proxy: _Proxy) -> Any:
    context = get()
    if context is None:
        raise NotInBuild(proxy._proxy_name)
    return proxy._proxy_pick(context)


def _itself(context: ExecutionContext) -> ExecutionContext:
    return context


current_app: Any = _Proxy("current_app", attrgetter("current_app"))
current_job: Any = _Proxy("current_job", attrgetter("current_job"))
current_build: Any = _Proxy("current_build", attrgetter("current_build"))
execution_context: Any = _Proxy("execution_context", _itself)
