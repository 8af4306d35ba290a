# ruff: noqa: PT028 - `testing_job` is a job with defaults, no test
"""Jobs and objects for tests and demonstrations, to be named in a configuration file.

A job here uses nothing but `jobcontrol.globals` and the standard library's logging.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

from jobcontrol.exceptions import SkipBuild
from jobcontrol.globals import current_app, current_build, current_job, execution_context

logger = logging.getLogger(__name__)

Group: TypeAlias = "tuple[str, ...] | None"


def job_simple_echo(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments it got, as `(args, kwargs)`."""
    return args, kwargs


def testing_job(  # noqa: PLR0917 - the manual's signature
    progress_steps: Iterable[tuple[Sequence[str] | None, int]] | None = None,
    retval: Any = None,
    fail: bool = False,
    skip: bool = False,
    log_messages: Iterable[tuple[int, str]] | None = None,
    step_duration: float = 0,
) -> Any:
    """Report progress in random order, log, and end as told.

    :param progress_steps: list of `(group_name, steps)`; a group name is a tuple or list of names,
        or None for the root; by default ten steps of the root
    :param retval: what to return
    :param fail: raise RuntimeError, at a random step or at the end
    :param skip: raise SkipBuild, at a random step or at the end
    :param log_messages: list of `(level, message)`, one of which is logged at each step, what is
        left after the last
    :param step_duration: milliseconds to sleep after each step
    """
    totals = _totals([(None, 10)] if progress_steps is None else progress_steps)
    steps = [group for group, count in totals.items() for _ in range(count)]
    random.shuffle(steps)
    messages = list(log_messages or ())
    done = dict.fromkeys(totals, 0)
    for group in steps:
        done[group] += 1
        step = f"[{done[group]}/{totals[group]}]"
        current_app.report_progress(
            group, done[group], totals[group], f"Doing action {group!r} {step}"
        )
        if messages:
            logger.log(*messages.pop(0))
        if random.randrange(len(steps) + 1) == 0:  # noqa: S311 - no secret
            _end_early(fail, skip, "in the middle of the loop")
        if step_duration:
            time.sleep(step_duration / 1000)
    for level, message in messages:
        logger.log(level, message)
    _end_early(fail, skip, "at the end")
    return retval


# Its name begins like that of a test, which it is not.
testing_job.__test__ = False  # type: ignore[attr-defined]


def _totals(progress_steps: Iterable[tuple[Sequence[str] | None, int]]) -> dict[Group, int]:
    totals: dict[Group, int] = {}
    for name, count in progress_steps:
        if not (name is None or isinstance(name, tuple | list)):
            raise TypeError(
                f"a group name must be a tuple, a list or None, not {type(name).__name__!r}"
            )
        totals[None if name is None else tuple(name)] = count
    return totals


def _end_early(fail: bool, skip: bool, where: str) -> None:
    if skip:
        raise SkipBuild(f"This is a simulated skip {where}")
    if fail:
        raise RuntimeError(f"This is a simulated exception {where}")


def job_with_logging() -> None:
    """Log one message of each level and one exception."""
    logger.debug("This is a debug message")
    logger.info("This is an info message")
    logger.warning("This is a warning message")
    logger.error("This is an error message")
    logger.critical("This is a critical message")
    try:
        _raise_value_error()
    except ValueError:
        logger.exception("This is an exception message")


def _raise_value_error() -> NoReturn:
    raise ValueError("Foobar")


def job_with_tracer_log() -> None:
    """Log which job and build it runs in, so that a test can tell whose message it is."""
    logger.info(
        "Message from job=%s, build=%s", execution_context.job_id, execution_context.build_id
    )


def job_failing_once() -> str:
    """Fail unless the job has a finished build already; then return the job's id.

    So the first build fails and a second one succeeds, whichever worker runs it.
    """
    if not any(True for _ in current_job.iter_builds(finished=True, limit=1)):
        raise RuntimeError("Simulating failure")
    return str(execution_context.job_id)


def job_echo_config(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments it got, with ids and configuration of the job and build it runs in."""
    config = current_build.config
    return {
        "args": args,
        "kwargs": kwargs,
        "build_id": current_build.id,
        "job_id": current_job.id,
        "dependencies": config.get("dependencies", []),
        "config": config,
    }


class RecordingLogHandler(logging.Handler):
    """Keeps the log records it gets in `messages`."""

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.messages: list[logging.LogRecord] = []

    def flush(self) -> None:
        """Do nothing: records are kept as they come."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.messages.append(record)

    def print_messages(self) -> None:
        """Write the messages to the standard output, one line each (more with an exception)."""
        formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")
        for record in self.messages:
            sys.stdout.write(formatter.format(record) + "\n")

    def clear_messages(self) -> None:
        """Forget the messages kept so far."""
        self.messages.clear()


class NonSerializableObject:
    """Has two attributes and refuses to be pickled."""

    __slots__ = ("bar", "foo")

    def __init__(self) -> None:
        self.foo = "foo"
        self.bar = "bar"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")


class NonSerializableException(Exception):  # noqa: N818 - the manual's name
    """An exception that can't be pickled, as it holds an object that can't."""

    def __init__(self) -> None:
        super().__init__("This exception can't be pickled")
        self.nso = NonSerializableObject()


def job_returning_nonserializable() -> NonSerializableObject:
    """Return what can't be pickled."""
    return NonSerializableObject()


def job_raising_nonserializable() -> NoReturn:
    """Raise what can't be pickled."""
    raise NonSerializableException
