"""Jobs that do what jobs do in the wild: everything."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import logging.config
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

from django.db import connection, transaction

from jobcontrol.exceptions import SkipBuild
from jobcontrol.globals import current_app, current_build, current_job, execution_context

logger = logging.getLogger(__name__)


class Point:
    def __init__(self, x):
        raise AssertionError("a return value is restored without calling __init__")

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __hash__(self):
        return 1


def point():
    made = Point.__new__(Point)
    made.x = 7
    return made


class BadRepr:
    def __repr__(self):
        raise SystemExit("no repr")


class BadText(Exception):
    def __str__(self):
        raise KeyboardInterrupt

    __repr__ = __str__


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("not me")


class Stranger(BaseException):
    pass


def echo(*args: Any, **kwargs: Any) -> Any:
    return (args, kwargs)


def value(it: Any = None) -> Any:
    return it


def numbers(n):
    for number in range(n):
        logger.info("yielding %d", number)
        yield number


async def later(n):
    await asyncio.sleep(0)
    return n


async def stream(n):
    for number in range(n):
        await asyncio.sleep(0)
        yield number


def skip(why=None):
    raise SkipBuild(why) if why is not None else SkipBuild


def raise_(kind: str):
    bad = BadRepr()
    text = "no such page"
    if kind == "ValueError":
        raise ValueError(text)
    if kind == "SystemExit":
        sys.exit(3)
    if kind == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if kind == "GeneratorExit":
        raise GeneratorExit
    if kind == "BaseException":
        raise Stranger(bad)
    if kind == "bad text":
        raise BadText(bad)
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
    if kind == "chain":
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    if kind == "StopIteration":
        raise StopIteration
    if kind == "recursion":
        return raise_(kind)
    if kind == "memory":
        raise MemoryError
    if kind == "syntax":
        compile("def (", "broken.py", "exec")
    return None


def unpicklable(where="top"):
    if where == "nested":
        return {"pages": [1, 2, {"handle": Unpicklable()}]}
    if where == "lambda":
        return lambda: 1
    return Unpicklable()


def deep():
    made = []
    for _ in range(100_000):
        made = [made]
    return made


def huge(size):
    return b"x" * size


def unreadable():
    return BadReprValue()


class BadReprValue:
    def __repr__(self):
        raise ValueError("no repr")


def print_much():
    for _ in range(10_000):
        print("x" * 1023)


def print_long_line():
    print("y" * 10_000_000)


def print_parts():
    print("one ", end="")
    print("line")
    sys.stdout.write("no end")
    sys.stderr.write("on stderr\n")
    sys.stdout.buffer.write("bytes é\n".encode())
    warnings.warn("careful", UserWarning, stacklevel=1)


def close_streams():
    print("before")
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)
    print("after")


def replace_streams():
    sys.stdout = io.StringIO()
    sys.stderr = None


def disable_logging():
    logging.disable(logging.CRITICAL)
    logging.getLogger().handlers.clear()
    logging.getLogger(__name__).setLevel(logging.CRITICAL)
    logging.getLogger(__name__).disabled = True
    logging.raiseExceptions = True


def configure_logging():
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    logging.setLogRecordFactory(lambda *a, **k: (_ for _ in ()).throw(RuntimeError("no records")))


def change_folder(path):
    os.chdir(path)
    os.environ["JOBCONTROL_TEST_MARK"] = "left behind"
    sys.path.insert(0, "/nowhere")
    sys.setrecursionlimit(5_000)
    os.umask(0o777)
    gc.disable()


def remove_folder(path):
    os.mkdir(path)
    os.chdir(path)
    os.rmdir(path)


def reset_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def fork_and_return():
    logger.info("before the fork")
    pid = os.fork()
    if pid == 0:
        print("in the child")
        logger.info("in the child too")
        current_app.report_progress(None, 99, 99)
        return "child"
    os.waitpid(pid, 0)
    logger.info("after the fork")
    return "parent"


def fork_and_raise():
    pid = os.fork()
    if pid == 0:
        raise RuntimeError("in the child")
    os.waitpid(pid, 0)
    return "parent"


def _square(number):
    logging.getLogger("child").info("square of %d", number)
    return number * number


def use_processes(method="fork"):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(_square, [1, 2, 3])


def end_children_at_once(count):
    """Fork so many children and tell each to end at once; return whether all of them did."""
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return False
            time.sleep(0.001)
    return True


def fork_with_database():
    from jobs.models import Job

    before = Job.objects.count()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if Job.objects.count() == before else 1)
    _, status = os.waitpid(pid, 0)
    return (status, Job.objects.count() == before)


def use_threads(count=4):
    def work(number):
        logger.info("thread %d logs", number)
        print(f"thread {number} prints")
        current_app.report_progress((f"thread {number}",), 1, 1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def fail_in_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


_leftover: list[threading.Event] = []


def leave_thread():
    stop = threading.Event()
    _leftover.append(stop)

    def chatter():
        while not stop.wait(0.01):
            print("left behind")
            logger.warning("left behind")

    threading.Thread(target=chatter, daemon=True).start()
    time.sleep(0.05)


def end_leftovers():
    for stop in _leftover:
        stop.set()


def close_connection():
    connection.ensure_connection()
    connection.close()


def break_transaction():
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def lock_tables():
    transaction.atomic().__enter__()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("LOCK TABLE builds_build, builds_logmessage IN ACCESS EXCLUSIVE MODE")
        else:
            cursor.execute("UPDATE builds_build SET priority = priority")
    logger.info("all locked")


def log_badly():
    logger.info("%d items", "many")
    logger.info("%s %s", "one")  # noqa: PLE1206 - that is the point
    logger.info("nul \x00 and surrogate \ud800 and é 💥")
    logger.info("object %s", BadRepr())
    logger.log(10**9, "absurd level")
    logger.info(BadRepr())
    logging.getLogger("n" * 1000).info("long name")
    record = logging.LogRecord("made", logging.INFO, "f", 1, "made by hand", None, None)
    record.created = 1e30
    logging.getLogger().handle(record)
    logger.debug("the last line")


def log_exception():
    secret_local = "a local"
    try:
        raise ValueError("logged, not raised")
    except ValueError:
        logger.exception("it went wrong, %s", secret_local)


def log_many(count):
    for number in range(count):
        logger.info("message %d", number)


def report_many(count):
    report = current_app.report_progress
    for number in range(count):
        report(("work",), number + 1, count, "going on")


def report_absurdly():
    report = current_app.report_progress
    report(None, True, False)
    report((), -5, 0, None)
    report([], 10**30, -(10**30))
    report(("a::b", 3), 2**31, 2**40, "nul \x00")
    report(("x" * 5000,), 1, 2)
    for depth in range(1, 200):
        report(tuple(str(n) for n in range(depth)), 1, 1)
    for kind in ("text", 5, {"a"}):
        try:
            report(kind, 1, 2)
        except TypeError:
            continue
        raise AssertionError(kind)
    for number in (1.5, "1", None):
        try:
            report(None, number, 2)
        except TypeError:
            continue
        raise AssertionError(number)


def report_tree():
    current_app.report_progress(("b", "one"), 1, 10)
    current_app.report_progress(("a",), 3, 5, "third")
    current_app.report_progress(("b", "two"), 4, 10)
    current_app.report_progress(("a",), 4, 5, "fourth")


def look_around():
    return {
        "job": current_job.id,
        "build": current_build.id,
        "status": current_build.descriptive_status,
        "context": (execution_context.job_id, execution_context.build_id),
        "same": execution_context.current_job == current_job._get() if False else True,
        "key": current_build.config.get("my_key"),
        "deps": [dep.id for dep in current_job.get_deps()],
        "repr": repr(execution_context.current_job),
    }


def nested(job_id, arm=False):
    before = current_build.id
    inner = current_app.build_job(job_id, arm=arm)
    logger.info("back in the outer build")
    return (before, current_build.id, inner.id, inner["retval"])


def old_storage(dep_id):
    current_app.storage.update_build_progress(current_build.id, 3, 7)
    found = current_app.storage.get_latest_successful_build(dep_id)
    return found["retval"] if found else None


def upper_repr(build):
    return f"value of build {build.id}: {build['retval']!r}".upper()


def failing_repr(build):
    raise SystemExit("no text")


cleaned: list[Any] = []
forked: list[int] = []


def cleanup(build):
    logger.info("cleaning build %s", build.id)
    print("removing its files")
    cleaned.append((build.id, build["retval"], build["success"]))


def failing_cleanup(build):
    raise RuntimeError("the files are on strike")


def forking_cleanup(build):
    pid = os.fork()
    if pid:
        forked.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def chatty_cleanup(build):
    for number in range(300):
        logger.info("removing file %d", number)


def state_of_process():
    return {
        "folder": os.getcwd(),
        "mark": os.environ.get("JOBCONTROL_TEST_MARK"),
        "path": "/nowhere" in sys.path,
        "limit": sys.getrecursionlimit(),
        "gc": gc.isenabled(),
        "term": str(signal.getsignal(signal.SIGTERM)),
        "disabled": logging.root.manager.disable,
        "warn": logging.getLogger(__name__).level,
    }


NOT_CALLABLE = 5


class Worker:
    """A class as a job's function."""

    def __init__(self, size=3):
        self.size = size


def wait(seconds=60.0, mark=None):
    if mark:
        with open(mark, "w") as file:
            file.write(str(os.getpid()))
    time.sleep(seconds)
    return "woke up"


def count_run(path, number):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{number}\n".encode())
    os.close(handle)
    return number


def add_one(number=0):
    return number + 1


def leak(secret, where):
    """Do everything with a secret that a job may do with it."""
    held = {"password": secret}
    logger.info("logging in with %s", secret)
    logger.info("held: %s", held)
    print("printed:", secret)
    print("url: http://u:" + __import__("urllib.parse").parse.quote(secret) + "@host/")
    print(__import__("base64").b64encode(("user:" + secret).encode()).decode())
    warnings.warn(f"warned of {secret}", UserWarning, stacklevel=1)
    current_app.report_progress((f"with {secret}",), 1, 2, f"using {secret}")
    try:
        raise KeyError(secret)
    except KeyError:
        logger.exception("could not use %s", secret)
    if where == "raise":
        raise ValueError(f"wrong password {secret!r}")
    if where == "skip":
        raise SkipBuild(f"not with {secret}")
    if where == "return":
        return held
    if where == "unpicklable":
        return {secret: lambda: held}
    return secret


def print_dots(count):
    sys.stdout.reconfigure(line_buffering=True)
    started = time.monotonic()
    for _ in range(count):
        print(".", end="")
    return time.monotonic() - started


def log_strange_level():
    record = logging.makeLogRecord({"levelno": float("inf"), "msg": "strange level"})
    logging.getLogger("odd").handle(record)
    return 1


def report_many_paths(count):
    for number in range(count):
        current_app.report_progress((str(number),), 1, 1)


def print_below_python():
    os.write(1, b"from below\n")
    return subprocess.run(["echo", "from a child"], check=True).returncode  # noqa: S607


class Unstorable(int):
    def __int__(self):
        raise ZeroDivisionError

    def __hash__(self):
        raise ZeroDivisionError


def log_what_makes_no_row(part):
    """Log a record by hand, of which no row can be made, and end at once."""
    known = {"levelno": logging.INFO, "msg": "strange"}
    logger.handle(logging.makeLogRecord(known | {part: Unstorable(logging.INFO)}))
