"""A configuration of 10,000 jobs that did not change, or did, against PyYAML's CSafeLoader alone.

    python benchmarks/configuration.py [--quick] [--rounds 3] [--on sqlite,postgres]

All that a process does which finds the file changed: reading, parsing, checking, writing the
registry, and looking at the functions anew. The peer only parses the same text.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

from measuring import Asked, Row, alone
from places import Place, places
from systems import inside, new_site

JOBS = 10_000
QUICK_JOBS = 60
BUDGET = 1.3

# One macro, 3 MB of YAML. The numbers after `one` and `every` are what is edited.
CONFIG = """
{% macro job(n) %}
  - id: job-{{ n }}
    title: "The job number {{ n }}, every: 0 {% if n == 7 %}one: 0 {% endif %}"
    function: "bench_jobs:noop"
    tags: [tag-{{ n % 20 }}, {{ "nightly" if n % 2 else "hourly" }}]
    {% if n > 10 %}
    dependencies: [job-{{ n // 3 }}]
    {% endif %}
    source: "https://example.org/catalogue/{{ n }}"
    notes: |
      Reads part {{ n }} of the catalogue, *then* writes it.
{% endmacro %}
jobs:
{% for n in range(COUNT) %}{{ job(n) }}{% endfor %}
"""


def rows(asked: Asked) -> Iterator[Row]:
    """Measure it on each database."""
    with places(asked) as found:
        for place in found:
            if place.kind != "redis":
                yield from _rows(asked, place)


def _rows(asked: Asked, place: Place) -> Iterator[Row]:
    count = asked.size(JOBS, QUICK_JOBS)
    site = new_site(place)
    path = site.write_config(CONFIG.replace("COUNT", str(count)))
    facts = inside(site, "configuration", path, asked.rounds)
    yield Row(
        what=f"{count:,} jobs, unchanged: files looked at",
        on=place.name,
        peer_name="one stat",
        unit="stats",
        ours=[one["looks"] for one in facts],
        peer=[1.0 for _ in facts],
        budget=1.0,
    )
    yield Row(
        what=f"{count:,} jobs, unchanged",
        on=place.name,
        peer_name="os.stat()",
        unit="µs",
        ours=[one["unchanged"] for one in facts],
        peer=[one["stat"] for one in facts],
    )
    for key, name in (("one", "one changed"), ("every", "all changed")):
        yield Row(
            what=f"{count:,} jobs, {name}",
            on=place.name,
            peer_name="CSafeLoader alone",
            unit="s",
            ours=[one[key] for one in facts],
            peer=[one[f"{key} parsed by PyYAML"] for one in facts],
            budget=BUDGET,
            facts={"loaded": round(statistics.median(one[f"{key} loaded"] for one in facts), 3)},
        )


if __name__ == "__main__":
    sys.exit(alone(__doc__ or "", rows))
