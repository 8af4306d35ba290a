"""The table of `make bench`: everything that is measured against a peer, in one run.

    python benchmarks/table.py [--quick] [--rounds 3] [--on sqlite,postgres,redis]
                               [--only drain,latency,…] [--results FOLDER] [--plot FILE]

Prints a line for each comparison and keeps them as JSON lines in `--results`, a file for each run.
A budget that is not met is said, not punished; the exit code is 1 when a program failed.
"""

from __future__ import annotations

import json
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import configuration
import drain
import growth
import latency
import log_records
import memory
import progress_reports
from measuring import Asked, Program, Row, asked_for, head, line, parser, surroundings

RESULTS = Path(__file__).parent / "results"
PROGRAMS: dict[str, Program] = {
    "drain": drain.rows,
    "latency": latency.rows,
    "log_records": log_records.rows,
    "progress_reports": progress_reports.rows,
    "configuration": configuration.rows,
    "memory": memory.rows,
    "growth": growth.rows,
}


def main() -> int:
    """Run the programs, print and keep the table, and return the exit code."""
    given = _options()
    asked = asked_for(given)
    chosen = [name for name in given.only.split(",") if name] or list(PROGRAMS)
    if wrong := set(chosen) - set(PROGRAMS):
        sys.exit(f"--only: {', '.join(sorted(wrong))} is none of {', '.join(PROGRAMS)}")
    now = datetime.now(UTC)
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / f"{now:%Y-%m-%d-%H%M%S}.jsonl"
    print(head(), flush=True)
    with path.open("w", encoding="utf-8") as kept:
        first = {"date": now.isoformat(timespec="seconds"), **surroundings(asked)}
        kept.write(json.dumps(first) + "\n")

        def keep(program: str, row: Row) -> None:
            print(line(row), flush=True)
            kept.write(json.dumps({"program": program, **row.to_json()}, ensure_ascii=False) + "\n")
            kept.flush()

        failed = [name for name in chosen if not _ran(name, asked, given, keep)]
    print(f"Kept in {path.name}.")
    for name in failed:
        print(f"{name} failed (see above)")
    return 1 if failed else 0


def _options() -> Namespace:
    options = parser(__doc__ or "")
    options.add_argument("--only", default="", metavar="NAMES", help=f"of {', '.join(PROGRAMS)}")
    options.add_argument("--results", type=Path, default=RESULTS, help="the folder for JSON lines")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the growth as SVG")
    return options.parse_args()


def _ran(name: str, asked: Asked, given: Namespace, keep: Callable[[str, Row], None]) -> bool:
    """Run one program; the others go on when it fails."""
    found = []
    try:
        for row in _rows(name, asked):
            keep(name, row)
            found.append(row)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever one of them meets
        traceback.print_exc()
        return False
    if name == "growth" and given.plot:
        given.plot.write_text(growth.plotted(found), encoding="utf-8")
    return True


def _rows(name: str, asked: Asked) -> Iterator[Row]:
    return PROGRAMS[name](asked)


if __name__ == "__main__":
    sys.exit(main())
