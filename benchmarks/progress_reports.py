"""What a progress report costs in a running build, against `tqdm.update()`.

    python benchmarks/progress_reports.py [--quick] [--rounds 3] [--on sqlite,postgres]

And how many writes come of reports without a pause.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from measuring import Asked, Row, alone, installed
from places import places
from systems import inside, new_site

REPORTS = 500_000
QUICK_REPORTS = 5_000
WRITES = 4.0  # a second, at most


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it on each database."""
    with places(asked) as found:
        for place in found:
            if place.kind == "redis":
                continue  # nothing of this goes through it
            site = new_site(place)
            reports = asked.size(REPORTS, QUICK_REPORTS)
            facts = inside(site, "progress_reports", reports, asked.rounds)
            peer = [one["peer"] for one in facts] if installed("tqdm") else []
            for key, name in (("whole", "of the whole"), ("named", "of a named bar")):
                yield Row(
                    what=f"progress report {name}",
                    on=place.name,
                    peer_name="tqdm.update()",
                    unit="ns",
                    ours=[one[key] for one in facts],
                    peer=peer,
                    budget=1.0,
                )
            yield Row(
                what="writes of reports without a pause",
                on=place.name,
                peer_name="the most there may be",
                unit="1/s",
                ours=[one["writes"] for one in facts],
                peer=[WRITES for _ in facts],
                budget=1.0,
            )


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
