"""The log lines of web, workers and supervisors that tell the story of a build.

One line for each step, as `event=ended build=12 job=crawl status=FAILED kind=timeout`: easy to
read, and to search and count by a program.
"""

from __future__ import annotations

import json
import logging
import re

_PLAIN = re.compile(r"[^\s\"'=\\]+")


def tell(logger: logging.Logger, event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log one step; facts that are None or empty are left out."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", line(event, **facts))


def line(event: str, **facts: object) -> str:
    """Return the step as `key=value` pairs; a value with blanks, quotes or `=` is a JSON string."""
    known = {name: fact for name, fact in facts.items() if fact is not None and fact != ""}
    return " ".join(f"{name}={_value(fact)}" for name, fact in {"event": event, **known}.items())


def _value(fact: object) -> str:
    text = f"{fact:.3f}" if isinstance(fact, float) else str(fact)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
