"""Integration tests share the process's recorder; its connection ends before the database does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builds.recorder import recorder


@pytest.fixture(scope="session", autouse=True)
def _recorder_ends_first(django_db_setup: None) -> Iterator[None]:
    yield
    recorder().stop()
