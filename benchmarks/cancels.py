"""How soon builds end that are cancelled, for many kinds of endless jobs.

    python benchmarks/cancels.py [ROUNDS [JOB …]]

Runs each job ROUNDS times (3) in a worker that has nothing else to do, cancels it at a moment of
its own, and prints the seconds from the cancel to CANCELLED: median and most. With LOAD=N in the
environment N other processes compute all the while. Ends with 1 if one was killed instead.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
from collections import defaultdict
from contextlib import ExitStack

from common import site

from tests.support import stoppable_jobs

GRACE_SECONDS = 20
DRIVER = """
    import json, logging, random, sys, time
    from pathlib import Path
    from builds import services
    from builds.models import Build, LogMessage
    from jobs import registry
    from jobs.models import Job

    logging.disable(logging.INFO)
    registry.ensure_current()
    folder = Path("{folder}")

    def until(condition):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    for number in range({rounds}):
        for name in {names}:
            build = services.request_build(job=Job.objects.get(pk=name), trigger="python")
            begun = folder / f"{{build.pk}}.begun"
            until(begun.exists)
            time.sleep(random.uniform(0.5, 3.0))
            begin = time.monotonic()
            services.cancel_build(build=build)
            asked = time.monotonic() - begin
            until(Build.objects.filter(pk=build.pk).exclude(end_time=None).exists)
            seconds = time.monotonic() - begin
            build.refresh_from_db()
            fact = {{"job": name, "asked": asked, "seconds": seconds, "status": build.status}}
            fact["tidy"] = begun.with_suffix(".tidy").exists()
            fact["killed"] = "killed" in build.exception_message
            fact["lines"] = LogMessage.objects.filter(build=build).count()
            with open("{facts}", "a") as file:
                print(json.dumps(fact), file=file)
            LogMessage.objects.filter(build=build).delete()
"""


def main() -> int:
    """Run it and return the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    names = sys.argv[2:] or list(stoppable_jobs.NAMES)
    with ExitStack() as stack:
        made = stack.enter_context(site())
        made.write_config("retention: {log_rows: 0}\n" + stoppable_jobs.config(made.folder))
        for _ in range(int(os.environ.get("LOAD", "0"))):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.kill)
        stack.enter_context(made.cluster(WORKERS=1, GRACE_SECONDS=GRACE_SECONDS))
        facts = made.folder / "facts"
        code = DRIVER.format(folder=made.folder, rounds=rounds, names=names, facts=facts)
        driver = made.start("-c", "import django\ndjango.setup()\n" + textwrap.dedent(code))
        if driver.wait() != 0:
            return 1
        rows = [json.loads(line) for line in facts.read_text().splitlines()]
    return _tell(rows)


def _tell(rows: list[dict]) -> int:
    by_job: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_job[row["job"]].append(row)
    print(f"{'job':20} {'runs':>5} {'median':>7} {'most':>7} {'asking':>7} {'lines':>8}  remarks")
    for name, found in by_job.items():
        seconds = [row["seconds"] for row in found]
        killed, untidy = (sum(bool(row[key]) for row in found) for key in ("killed", "tidy"))
        remarks = [f"{killed} killed"] if killed else []
        remarks += [f"{len(found) - untidy} not tidied up"] if untidy < len(found) else []
        remarks += [] if all(row["status"] == "CANCELLED" for row in found) else ["not CANCELLED"]
        print(
            f"{name:20} {len(found):5} {statistics.median(seconds):7.2f} {max(seconds):7.2f} "
            f"{max(row['asked'] for row in found):7.2f} "
            f"{max(row['lines'] for row in found):8}  {', '.join(remarks)}"
        )
    return 1 if any(row["killed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
