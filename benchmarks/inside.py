"""Measures what happens inside one process of a site (started by the programs, not by hand).

    python inside.py WHAT [ARGUMENT…]

Prints one line of JSON: a list with an object for each round, or what `WHAT` says.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import django

Facts = dict[str, float]
BURST = 1_000  # records: fewer than a caller waits for the writer
WRITES_SECONDS = 3.0
REST_SECONDS = 0.3  # after a burst: the writer writes four times a second


def in_a_build(job: str, function: Callable[[], Any]) -> tuple[Any, float]:
    """Run `function` as that of a build; return what it returned and when all was stored."""
    from builds import runner, services
    from builds.models import Build
    from jobs import registry
    from jobs.models import Job

    registry.ensure_current()
    found: list[Any] = []
    module: Any = import_module("bench_inside")  # one that `systems` wrote
    module.function = lambda: found.append(function())
    build = services.create_build(job=Job.objects.get(pk=job), trigger="python")
    ended = runner.run_here(build)
    stored = time.perf_counter()
    if ended.status != Build.Status.SUCCESSFUL:
        sys.exit(f"the build ended {ended.status}: {ended.exception_message}")
    return found[0], stored


# --- Log records ----------------------------------------------------------------------------------


def log_records(lines: int, bursts: int, rounds: int, folder: str) -> list[Facts]:
    """Log in a build, and into a file, with one thread and with eight; microseconds."""
    found = []
    for number in range(rounds):
        facts: Facts = {}
        for threads in (1, 8):
            facts |= _ours(lines, bursts, threads)
            facts |= _peer(lines, bursts, threads, f"{folder}/{number}-{threads}.log")
        found.append(facts)
    return found


def _ours(lines: int, bursts: int, threads: int) -> Facts:
    from builds.models import LogMessage

    log = logging.getLogger("bench")
    caller, _ = in_a_build("inside", lambda: _bursts(log, bursts, threads))
    before = LogMessage.objects.filter(logger="bench").count()
    start, stored = in_a_build("inside", lambda: _started(log, lines, threads))
    if LogMessage.objects.filter(logger="bench").count() - before != lines:
        sys.exit("records are missing")
    seconds = stored - start
    return {f"ours caller {threads}": caller, f"ours stored {threads}": 1e6 * seconds / lines}


def _started(log: logging.Logger, lines: int, threads: int) -> float:
    begin = time.perf_counter()
    _write(log, lines, threads)
    return begin


def _peer(lines: int, bursts: int, threads: int, path: str) -> Facts:
    log = logging.getLogger(f"peer.{threads}.{path}")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    handler = logging.FileHandler(path)
    log.addHandler(handler)
    caller = _bursts(log, bursts, threads)
    begin = time.perf_counter()
    _write(log, lines, threads)
    seconds = time.perf_counter() - begin
    handler.close()
    log.removeHandler(handler)
    return {f"peer caller {threads}": caller, f"peer stored {threads}": 1e6 * seconds / lines}


def _bursts(log: logging.Logger, bursts: int, threads: int) -> float:
    """Return the microseconds of the caller's for a record, of bursts with a rest between."""
    found = []
    for _ in range(bursts):
        time.sleep(REST_SECONDS)
        begin = time.perf_counter()
        _write(log, BURST, threads)
        found.append(1e6 * (time.perf_counter() - begin) / BURST)
    return statistics.median(found)


def _write(log: logging.Logger, lines: int, threads: int) -> None:
    def some(count: int) -> None:
        for number in range(count):
            log.info("message %d", number)

    if threads == 1:
        some(lines)
        return
    started = [threading.Thread(target=some, args=(lines // threads,)) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


# --- Progress reports -----------------------------------------------------------------------------


def progress_reports(reports: int, rounds: int) -> list[Facts]:
    """Report progress in a build, and to tqdm; nanoseconds for each, and writes for a second."""
    found = []
    for _ in range(rounds):
        facts = in_a_build("inside", lambda: _reports(reports))[0]
        facts["peer"] = _tqdm(reports)
        found.append(facts)
    return found


def _reports(reports: int) -> Facts:
    from jobcontrol.globals import current_app

    begin = time.perf_counter()
    for number in range(reports):
        current_app.report_progress(None, number, reports)
    middle = time.perf_counter()
    for number in range(reports):
        current_app.report_progress(("Pages", "read"), number, reports)
    end = time.perf_counter()
    return {
        "whole": 1e9 * (middle - begin) / reports,
        "named": 1e9 * (end - middle) / reports,
        "writes": _writes(WRITES_SECONDS if reports >= BURST * 100 else 0.5),
    }


def _writes(seconds: float) -> float:
    """Report without a pause for so long; return how many writes a second came of it."""
    from builds.services import observations
    from jobcontrol.globals import current_app

    writes = [0]
    store = observations.store_observations

    def counting(**values: Any) -> None:
        writes[0] += 1
        store(**values)

    observations.store_observations = counting
    begin, number = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        number += 1
        current_app.report_progress(None, number, number)
    observations.store_observations = store
    return writes[0] / (time.perf_counter() - begin)


def _tqdm(reports: int) -> float:
    try:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return 0.0
    with Path("/dev/null").open("w") as nothing, tqdm(total=reports, file=nothing) as bar:
        begin = time.perf_counter()
        for _ in range(reports):
            bar.update(1)
        return 1e9 * (time.perf_counter() - begin) / reports


# --- Configuration --------------------------------------------------------------------------------


def configuration(path: str, rounds: int) -> list[Facts]:
    """Follow a file that did not change, that changed a little, and wholly; seconds."""
    from jobs import registry

    registry.ensure_current()
    return [_followed(Path(path), number) for number in range(1, rounds + 1)]


def _followed(path: Path, number: int) -> Facts:
    from jobs import registry

    facts: Facts = {}
    text = path.read_text(encoding="utf-8")
    one = text.replace(f"one: {number - 1} ", f"one: {number} ")
    every = one.replace(f"every: {number - 1} ", f"every: {number} ")
    for name, new in (("one", one), ("every", every)):
        path.write_text(new, encoding="utf-8")
        time.sleep(0.1)  # one written just before would be read again
        begin = time.perf_counter()
        registry.ensure_current()
        facts[name] = time.perf_counter() - begin
        facts[f"{name} parsed by PyYAML"] = _parsed(registry.configuration().expanded)
        facts[f"{name} loaded"] = _loaded(path)
    return facts | _unchanged(path)


def _parsed(text: str) -> float:
    import yaml

    begin = time.perf_counter()
    yaml.load(text, Loader=yaml.CSafeLoader)
    return time.perf_counter() - begin


def _loaded(path: Path) -> float:
    from jobs.config import load_file

    begin = time.perf_counter()
    load_file(str(path))
    return time.perf_counter() - begin


def _unchanged(path: Path) -> Facts:
    from jobs import registry

    config: Any = import_module("jobs.config")
    times, looks = 1_000, [0]
    begin = time.perf_counter()
    for _ in range(times):
        registry.ensure_current()
    ours = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in range(times):
        os.stat(path)
    peer = time.perf_counter() - begin
    stamp = config._stamp

    def counting(name: str) -> Any:
        looks[0] += 1
        return stamp(name)

    config._stamp = counting
    registry.ensure_current()
    config._stamp = stamp
    facts = {"unchanged": 1e6 * ours / times, "stat": 1e6 * peer / times}
    return facts | {"looks": float(looks[0])}


# --- Pages ----------------------------------------------------------------------------------------


def pages(times: int, *addresses: str) -> dict[str, float]:
    """Ask for these pages as an administrator; the milliseconds of each, the middle."""
    from django.contrib.auth.models import User
    from django.test import Client

    user, _ = User.objects.get_or_create(
        username="admin", defaults={"is_staff": True, "is_superuser": True}
    )
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(user)
    return {address: _page(browser, address, times) for address in addresses}


def _page(browser: Any, address: str, times: int) -> float:
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        answer = browser.get(address)
        seconds.append(time.perf_counter() - begin)
        if answer.status_code != 200:
            sys.exit(f"{address} gave {answer.status_code}")
    return 1_000 * statistics.median(seconds[1:])  # the first one fills caches


def session(*_: object) -> str:
    """Log an administrator in; return the cookie's value."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    browser = Client(SERVER_NAME="localhost")
    user = User.objects.filter(username="watcher").first()
    browser.force_login(user or User.objects.create_superuser("watcher"))
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


KINDS: dict[str, Callable[..., Any]] = {
    "configuration": configuration,
    "log_records": log_records,
    "pages": pages,
    "progress_reports": progress_reports,
    "session": session,
}


def main() -> int:
    """Do what the command line says; print JSON."""
    django.setup()
    what, *arguments = sys.argv[1:]
    values = [int(text) if text.isdecimal() else text for text in arguments]
    print(json.dumps(KINDS[what](*values)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
