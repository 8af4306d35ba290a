"""No-op builds drained by two workers, everything recorded, against django-q2 and Celery.

    python benchmarks/drain.py [--quick] [--rounds 3] [--on sqlite,postgres,redis]

Queued first, one request each; then the workers are started, and what counts is how many are stored
for good in a second, from the first one on.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

from measuring import Asked, Row, alone
from places import Place, places
from systems import Celery, Ours, Raw, System, celery_name, drain, has_celery

BUILDS = 2_000
QUICK_BUILDS = 40


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it everywhere."""
    with places(asked) as found:
        for place in found:
            yield from _rows(asked, place)


def _rows(asked: Asked, place: Place) -> Iterator[Row]:
    count = asked.size(BUILDS, QUICK_BUILDS)
    systems: list[System] = [Ours(place), Raw(place)]
    if has_celery():
        systems.append(Celery(place))
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(asked.rounds):
        for system in systems:
            rates[system.key].append(drain(system, count))
    for name, key in (("django-q2, tuned", "raw"), (celery_name(place), "celery")):
        yield Row(
            what=f"drain of {count:,} no-op builds",
            on=place.name,
            peer_name=name,
            unit="builds/s",
            ours=rates["ours"],
            peer=rates[key],
            budget=1.0,
            more_is_better=True,
        )


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
