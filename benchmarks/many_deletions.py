"""Many builds deleted from one selection by a cluster: all gone, in memory that does not grow.

    python benchmarks/many_deletions.py [BUILDS]

Each has a log line and an input. Prints, while it runs, how many are left and the memory of the
cluster's processes (MiB of their own). Ends with 1 if a build is left or a process took 300 MiB.
"""

from __future__ import annotations

import sys
import time

import psycopg
from common import memory, site

FILL = """
    from builds.models import Build, BuildDependency, BuildPayload, LogMessage
    from django.utils import timezone

    now, count = timezone.now(), {count}
    for start in range(0, count, 5_000):
        size = min(5_000, count - start)
        ended = dict(job_id="short", status="SUCCESSFUL", start_time=now, end_time=now)
        made = Build.objects.bulk_create([Build(**ended) for _ in range(size)])
        BuildPayload.objects.bulk_create([BuildPayload(build=one) for one in made])
        lines = dict(created=now, level=20, logger="a", message="a line of the log")
        LogMessage.objects.bulk_create([LogMessage(build=one, **lines) for one in made])
        BuildDependency.objects.bulk_create(
            [
                BuildDependency(build=one, job_id="short", dep_build=used, dep_build_number=used.pk)
                for used, one in zip(made, made[1:])
            ]
        )
"""
CHOOSE = """
    from builds import services
    from builds.models import Build

    numbers = Build.objects.order_by("pk").values_list("pk", flat=True)
    choice = services.choose_builds(builds=numbers.iterator(), requested_by=None)
    services.confirm_choice(number=choice.pk, requested_by=None, cleanup=True)
"""
LOOK_SECONDS = 2.0
MOST_MIB = 300


def main() -> int:
    """Run it and return the exit code."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with site() as made:
        made.write_config("jobs: [{id: short, function: 'time:time'}]")
        made.manage("sync_jobs", check=True)
        made.python(FILL.format(count=count))
        made.python(CHOOSE)
        begin, most, left = time.monotonic(), 0.0, count
        with (
            made.cluster(WORKERS=2) as cluster,
            psycopg.connect(made.database_url, autocommit=True) as database,
        ):
            print(f"{'seconds':>8} {'left':>8}  memory")
            while left:
                time.sleep(LOOK_SECONDS)
                (left,) = database.execute("SELECT count(*) FROM builds_build").fetchone()
                used = [memory(process) for process in cluster.processes()]
                most = max(most, *used)
                texts = " ".join(f"{mib:.0f}" for mib in used)
                print(f"{time.monotonic() - begin:8.1f} {left:8}  {texts}", flush=True)
        print(
            f"{count:,} builds deleted in {time.monotonic() - begin:.0f} s; {most:.0f} MiB at most"
        )
    return 1 if most > MOST_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
