"""What runs now: `current_app`, `current_job`, `current_build`, `execution_context`.

Job modules import these at their top, outside any build; each is a proxy that looks up the running
build at every use. The context is found on a stack of its own for each thread and asynchronous
task (nested builds, tests) and, where that is empty, is the one of the whole process: so threads
that a job starts see the build they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
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


class KnownBar(Protocol):
    """A progress bar that was reported before: what the next report of it may change by itself.

    That is `newest` and `reports`, while no more than `look_at` were counted and it goes forward;
    every other report is for `report_progress` of the application.
    """

    newest: tuple[int, int, str]
    reports: int
    look_at: int


_NO_BARS: Mapping[object, KnownBar] = {}


class _Process:
    """The base that every thread of this process sees."""

    __slots__ = ("context",)

    def __init__(self) -> None:
        self.context: ExecutionContext | None = None


_process = _Process()
# The innermost first.
_stack: ContextVar[tuple[ExecutionContext, ...]] = ContextVar("jobcontrol_contexts", default=())
_contexts_here = _stack.get
# Of the innermost context, in a thread (or task) that has reported something since it is that.
_bars: ContextVar[Mapping[object, KnownBar]] = ContextVar("jobcontrol_bars", default=_NO_BARS)
_bars_here = _bars.get


def get() -> ExecutionContext | None:
    """Return the context of the build that runs here, None outside a build."""
    contexts = _contexts_here()
    return contexts[0] if contexts else _process.context


def push(context: ExecutionContext) -> None:
    """Make `context` the current one of this thread (or asynchronous task) until `pop`."""
    _stack.set((context, *_contexts_here()))
    _bars.set(_NO_BARS)


def pop(context: ExecutionContext) -> None:
    """Take `context` off the stack, with all that was left above it.

    A job that pushed a context and forgot it must not change what the next build sees.
    Raises RuntimeError when `context` is not on the stack of this thread.
    """
    contexts = _contexts_here()
    for position, other in enumerate(contexts, 1):
        if other is context:
            _stack.set(contexts[position:])
            _bars.set(_NO_BARS)
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
        context = contexts[0] if contexts else _process.context
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


_NOTHING = ""


def _report_progress(
    group_name: Sequence[object] | None,
    current: int,
    total: int,
    status_line: str | None = _NOTHING,
) -> None:
    """Report progress of the current build: see `jobcontrol.core.JobControl.report_progress`."""
    try:
        bar = _bars_here()[group_name]
        # Loops report at each step, so what most of these reports are is decided right here; no
        # lock is needed, as nothing of the bar is lost when threads change it in any order.
        reports = bar.reports
        if (
            reports < bar.look_at
            and type(current) is int
            and current >= bar.newest[0]
            and type(total) is int
            and (status_line is _NOTHING or type(status_line) is str)
        ):
            bar.reports = reports + 1
            bar.newest = (current, total, status_line)
            return
    except (KeyError, TypeError):
        pass  # a bar that is new, or no path at all
    _behind(current_app).report_progress(group_name, current, total, status_line)


class _App(_Proxy):
    """`current_app`; the call that loops make is an attribute of its own while a build reports."""

    __slots__ = ("report_progress",)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "report_progress":  # a test that replaces it, in a build
            _behind(self)
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name == "report_progress":
            object.__setattr__(self, name, _report_progress)
        else:
            super().__delattr__(name)


def expect_reports(bars: Mapping[object, KnownBar]) -> None:
    """Have `current_app.report_progress` look first at these, of the build that runs here.

    They are empty when that build has ended, so that no thread it left behind reports to them.
    """
    _bars.set(bars)
    object.__setattr__(current_app, "report_progress", _report_progress)


def expect_no_reports() -> None:
    """Undo `expect_reports`, when no build runs any more."""
    with suppress(AttributeError):  # nothing was reported
        object.__delattr__(current_app, "report_progress")


current_app: Any = _App("current_app", attrgetter("current_app"))
current_job: Any = _Proxy("current_job", attrgetter("current_job"))
current_build: Any = _Proxy("current_build", attrgetter("current_build"))
execution_context: Any = _Proxy("execution_context", _itself)
