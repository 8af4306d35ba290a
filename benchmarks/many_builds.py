"""Many builds through two clusters on PostgreSQL: each exactly once, in memory that does not grow.

    python benchmarks/many_builds.py [BUILDS]

Prints, while it runs, how many builds have ended and the memory of main processes and workers
(MiB of their own). Ends with 1 if a build ran twice or never, or if memory grew by more than a
tenth and 10 MiB after the first fifth.
"""

from __future__ import annotations

import sys
import time

import psutil
import psycopg
from common import memory, site

MODULE = """
import os

def note(path):
    from jobcontrol.globals import current_build
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b"%d\\n" % current_build.id)
    os.close(handle)
"""
REQUEST = """
    import logging
    from builds import queue, services
    from jobs import registry
    from jobs.models import Job

    logging.disable(logging.INFO)
    registry.ensure_current()
    queue.wake = lambda times=1, queue="default": True  # the first supervisor that looks wakes
    job = Job.objects.get(pk="short")
    for _ in range({count}):
        services.request_build(job=job, trigger="python")
"""
LOOK_SECONDS = 2.0


def families(pids: tuple[int, int]) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Return the main processes of both clusters, and the children of their sentinels."""
    mains = [psutil.Process(pid) for pid in pids]
    sentinels = [child for main in mains for child in main.children()]
    others = [child for sentinel in sentinels for child in sentinel.children()]
    others.sort(key=lambda process: process.create_time())
    return mains, others


def main() -> int:
    """Run it and return the exit code."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with site() as made:
        ran = made.folder / "ran"
        made.write_module("many", MODULE)
        made.write_config(f"jobs: [{{id: short, function: 'many:note', args: ['{ran}']}}]")
        made.python(REQUEST.format(count=count))
        begin, seen = time.monotonic(), []
        with made.cluster(WORKERS=2) as one, made.cluster(WORKERS=2) as other:
            processes = families((one.pid, other.pid))
            print(f"{'seconds':>8} {'ended':>8} {'main':>12} {'its children':>32}")
            with psycopg.connect(made.database_url, autocommit=True) as database:
                ended = 0
                while ended < count:
                    time.sleep(LOOK_SECONDS)
                    query = "SELECT count(*) FROM builds_build WHERE end_time IS NOT NULL"
                    ended = database.execute(query).fetchone()[0]
                    used = [[memory(one) for one in found] for found in processes]
                    seen.append((ended, sum(map(sum, used))))
                    texts = [" ".join(f"{mib:.0f}" for mib in found) for found in used]
                    seconds = time.monotonic() - begin
                    print(f"{seconds:8.1f} {ended:8} {texts[0]:>12} {texts[1]:>32}", flush=True)
                seconds = time.monotonic() - begin
                query = "SELECT count(*) FROM builds_build WHERE status = 'SUCCESSFUL'"
                good = database.execute(query).fetchone()[0]
        numbers = [int(line) for line in ran.read_text().split()]
    doubled, missing = len(numbers) - len(set(numbers)), count - len(set(numbers))
    early = next(total for ended, total in seen if ended >= count / 5)
    grown = seen[-1][1] - early
    print(f"{count} builds in {seconds:.1f}s ({count / seconds:.0f}/s): {good} successful,")
    print(f"{doubled} ran twice, {missing} never ran; memory {early:.0f} → {seen[-1][1]:.0f} MiB")
    is_flat = grown <= max(early / 10, 10.0)
    return 0 if good == count and not doubled and not missing and is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
