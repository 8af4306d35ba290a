"""Jobs of plans: what they return says what it was made of."""

from __future__ import annotations

import os
from typing import Any

from jobcontrol.exceptions import SkipBuild


def join(name: str, *parts: Any) -> str:
    """Return `name(part, part)`. Fails or skips when the environment says so, by name."""
    if name in os.environ.get("PLAN_FAILS", "").split():
        raise ValueError(f"{name} fails")
    if name in os.environ.get("PLAN_SKIPS", "").split():
        raise SkipBuild(f"{name} has nothing to do")
    return f"{name}({', '.join(map(str, parts))})" if parts else name
