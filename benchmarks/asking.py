"""Asks a system for work, in a process of its own (started by `systems`, not by hand).

python asking.py ours|raw|celery queue COUNT
python asking.py ours|raw|celery latency COUNT FIFO PAUSE
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from collections.abc import Callable
from importlib import import_module

Send = Callable[[str], int]  # asks for a function and returns when that was committed (ns)
MAX_SECONDS = 60.0
WARM_UP = 5


def ours() -> Send:
    """Ask us: the request and the wake-up as from any caller."""
    import django

    django.setup()
    from django.db import transaction

    from builds import services
    from jobs import registry
    from jobs.models import Job

    registry.ensure_current()
    jobs = {job.pk: job for job in Job.objects.all()}
    committed = [0]

    def note() -> None:
        committed[0] = time.monotonic_ns()

    def send(name: str) -> int:
        with transaction.atomic():
            transaction.on_commit(note)  # the first: the wake-up is sent after it
            services.request_build(job=jobs[name], trigger="python")
        return committed[0]

    return send


def raw() -> Send:
    """Ask django-q2, with one broker kept."""
    import django

    django.setup()
    from django_q.brokers import get_broker
    from django_q.tasks import async_task

    broker = get_broker()
    is_committed_by_sending = "redis" not in type(broker).__module__

    def send(name: str) -> int:
        before = time.monotonic_ns()
        async_task(f"bench_jobs.{name}", broker=broker)
        return time.monotonic_ns() if is_committed_by_sending else before

    return send


def celery() -> Send:
    """Ask Celery, with one connection kept."""
    bench_celery = import_module("bench_celery")  # one that `systems` wrote
    tasks = {name: getattr(bench_celery, name) for name in ("noop", "mark")}

    def send(name: str) -> int:
        before = time.monotonic_ns()
        tasks[name].delay()
        return before

    return send


def queue(send: Send, count: int) -> float:
    """Ask for so many no-ops, each by itself, and return the seconds that took."""
    begin = time.monotonic()
    for _ in range(count):
        send("noop")
    return time.monotonic() - begin


def latency(send: Send, count: int, fifo: str, pause: float) -> list[float]:
    """Return the milliseconds from each commit to the first line of the function."""
    handle = os.open(fifo, os.O_RDWR)
    moments = random.Random(7)
    found = []
    for _ in range(WARM_UP + count):
        sent = send("mark")
        ready, _, _ = select.select([handle], [], [], MAX_SECONDS)
        if not ready:
            sys.exit(f"nothing began within {MAX_SECONDS:.0f} s")
        began = int(os.read(handle, 64))
        found.append(max(began - sent, 0) / 1e6)
        time.sleep(pause * (0.5 + moments.random()))  # no beat in common with any polling
    os.close(handle)
    return found[WARM_UP:]


def main() -> int:
    """Do what the command line says; print JSON."""
    system, what, count, *rest = sys.argv[1:]
    send = {"ours": ours, "raw": raw, "celery": celery}[system]()
    if what == "queue":
        print(json.dumps(queue(send, int(count))))
    else:
        print(json.dumps(latency(send, int(count), rest[0], float(rest[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
