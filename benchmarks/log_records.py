"""What a log record costs in a running build, against `logging.FileHandler`.

    python benchmarks/log_records.py [--quick] [--rounds 3] [--on sqlite,postgres]

What the caller waits, in bursts; and until all are stored, of many in one go. With one thread and
with eight that log at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from measuring import Asked, Row, alone
from places import places
from systems import inside, new_site

LINES = 40_000
QUICK_LINES = 2_400
BURSTS = 10
QUICK_BURSTS = 2
BUDGETS = {"caller": 0.8, "stored": 1.5}
NAMES = {"caller": "log record, the caller waits", "stored": "log record, until stored"}


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it on each database."""
    with places(asked) as found:
        for place in found:
            if place.kind == "redis":
                continue  # nothing of this goes through it
            site = new_site(place)
            lines = asked.size(LINES, QUICK_LINES)
            bursts = asked.size(BURSTS, QUICK_BURSTS)
            facts = inside(site, "log_records", lines, bursts, asked.rounds, site.folder)
            for threads in (1, 8):
                for part, budget in BUDGETS.items():
                    yield Row(
                        what=NAMES[part] + (f", {threads} threads" if threads > 1 else ""),
                        on=place.name,
                        peer_name="FileHandler",
                        unit="µs",
                        ours=[one[f"ours {part} {threads}"] for one in facts],
                        peer=[one[f"peer {part} {threads}"] for one in facts],
                        budget=budget,
                    )


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
