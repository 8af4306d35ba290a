"""One build with very many log lines and progress reports: its worker stays small.

    python benchmarks/many_lines.py [LINES [REPORTS]]

Prints the memory of the worker (MiB, all of it) while it runs. Ends with 1 if that was ever more
than 300 MiB, or if a line or the last report is missing.
"""

from __future__ import annotations

import json
import sys
import time

import psutil
import psycopg
from common import MIB, site

MODULE = """
import logging, os
from jobcontrol.globals import current_app

def run(mark, lines, reports):
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    log = logging.getLogger("many")
    for number in range(lines):
        log.info("line %d of very many", number)
    for number in range(1, reports + 1):
        current_app.report_progress(None, number, reports)
"""
MAX_MIB = 300.0
LOOK_SECONDS = 2.0


def main() -> int:
    """Run it and return the exit code."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    reports = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    with site() as made:
        mark = made.folder / "mark"
        made.write_module("many", MODULE)
        made.write_config(
            f"""
            retention: {{log_rows: 0}}
            jobs: [{{id: long, function: "many:run", args: ["{mark}", {lines}, {reports}]}}]
            """
        )
        with made.cluster(WORKERS=1), psycopg.connect(made.database_url) as database:
            made.manage("build_job", "long", "--queue", check=True)
            begin, most, row = time.monotonic(), 0.0, (None, None)
            while row[1] is None:
                time.sleep(LOOK_SECONDS)
                query = "SELECT status, end_time FROM builds_build"
                row = database.execute(query).fetchone()
                database.rollback()
                seconds = time.monotonic() - begin
                if mark.exists() and row[1] is None:
                    mib = psutil.Process(int(mark.read_text())).memory_info().rss / MIB
                    most = max(most, mib)
                    print(f"{seconds:8.1f}s {mib:8.1f} MiB", flush=True)
            query = "SELECT count(*) FROM builds_logmessage WHERE logger = 'many'"
            stored = database.execute(query).fetchone()[0]
            query = "SELECT current, total FROM builds_buildprogress"
            progress = database.execute(query).fetchone()
    facts = {"status": row[0], "lines": stored, "progress": progress, "seconds": round(seconds, 1)}
    print(json.dumps(facts), f"at most {most:.0f} MiB")
    is_whole = stored == lines and progress == (reports, reports) and row[0] == "SUCCESSFUL"
    return 0 if is_whole and most < MAX_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
