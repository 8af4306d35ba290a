"""The table of faults, printed after the run that did them."""

from __future__ import annotations

from typing import Any

import pytest

COLUMNS = ("builds", "doubled", "missing", "failed", "all ended", "new build", "took")
_ROWS = pytest.StashKey[list[dict[str, Any]]]()


@pytest.fixture
def fault_table(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """The rows of the table; a fault adds its own."""
    return pytestconfig.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one line for each fault."""
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("faults")
    head = f"{'fault':40} {'on':9} {'result':7}" + "".join(f" {name:>9}" for name in COLUMNS)
    terminalreporter.line(head)
    for row in rows:
        facts = "".join(f" {row['facts'].get(name, ''):>9}" for name in COLUMNS)
        terminalreporter.line(f"{row['fault']:40} {row['on']:9} {row['result']:7}{facts}")
