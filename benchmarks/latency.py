"""From the commit of a request to the first line of its function, while nothing else is to do.

    python benchmarks/latency.py [--quick] [--rounds 3] [--on sqlite,postgres,redis]

Requests come one at a time with pauses of no fixed length. The peers are django-q2 that looks every
0.02 s, and Celery on Redis.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

from measuring import Asked, Row, alone
from places import Place, places
from systems import Celery, Ours, Raw, System, has_celery

REQUESTS = 60
QUICK_REQUESTS = 5
PAUSE = 0.2  # seconds, in the middle
PARTS = (("p50", 0.5), ("p95", 0.95))


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it everywhere."""
    with places(asked) as found:
        for place in found:
            yield from _rows(asked, place)


def _rows(asked: Asked, place: Place) -> Iterator[Row]:
    count = asked.size(REQUESTS, QUICK_REQUESTS)
    systems: list[System] = [Ours(place), Raw(place)]
    if has_celery() and place.spare_redis:
        systems.append(Celery(place))
    seen: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(asked.rounds):
        for system in systems:
            seen[system.key].append(latencies(system, count))
    for part, share in PARTS:
        ours = [percentile(one, share) for one in seen["ours"]]
        for name, key, budget in _peers(place):
            yield Row(
                what=f"idle, commit → first line, {part}",
                on=place.name,
                peer_name=name,
                unit="ms",
                ours=ours,
                peer=[percentile(one, share) for one in seen[key]],
                budget=budget if part == "p95" else None,
            )


def _peers(place: Place) -> list[tuple[str, str, float | None]]:
    # Celery has its broker everywhere; on SQLite we have none that could wake us as fast.
    celery_budget = None if place.kind == "sqlite" else 2.0
    # Nor is anything asked of us against a django-q2 that need not poll.
    raw = ("django-q2", "raw", None) if place.redis else ("django-q2, poll 0.02", "raw", 1.2)
    return [
        raw,
        ("Celery, Redis", "celery", celery_budget),
    ]


def latencies(system: System, count: int) -> list[float]:
    """Return the milliseconds of so many requests."""
    with system.working():
        found: list[float] = system.ask("latency", count, system.fifo, PAUSE)
        return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of them does not exceed."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * share) - 1]


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
