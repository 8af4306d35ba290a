"""What a test needs of the machine."""

from __future__ import annotations

import os
import warnings

import pytest


def need(thing: str, *, found: bool) -> None:
    """Skip, loudly, a test whose `thing` is not on this machine; under CI=true fail it."""
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{thing} is missing, and in CI nothing may be skipped")
    warnings.warn(f"NOT TESTED: {thing} is missing on this machine", stacklevel=2)
    pytest.skip(f"{thing} is missing on this machine")
