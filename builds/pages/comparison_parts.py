"""What the comparison of two builds is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from builds.models import Build
from builds.pages.build import worker_label


@dataclass(frozen=True)
class Side:
    """One of the two builds, with what its page shows."""

    build: Build
    now: datetime

    @property
    def name(self) -> str:
        """What it is called beside the other one."""
        return f"#{self.build.pk}"

    @property
    def worker(self) -> str:
        """The process that ran it."""
        return worker_label(self.build.worker)

    @property
    def took(self) -> float | None:
        """Seconds from start to end, or up to now."""
        return self.build.duration(self.now)

    @property
    def waited(self) -> float | None:
        """Seconds from the request to the start, or up to now."""
        build = self.build
        until = build.start_time or (None if build.finished else self.now)
        return max((until - build.created).total_seconds(), 0.0) if until else None

    @property
    def has_texts(self) -> bool:
        """Whether there is a configuration, and maybe a return value."""
        return self.shown("config_size") is not None

    def shown(self, name: str) -> Any:
        """Return what was loaded beside its own columns (see `with_texts`)."""
        return getattr(self.build, name, None)


@dataclass(frozen=True)
class Section:
    """A part of the page; `word` says at once what came out, `kind` names what shows the rest."""

    key: str
    title: str
    same: bool
    word: str
    kind: str
    content: Any

    @property
    def template(self) -> str:
        """What shows its content."""
        return f"builds/_compare_{self.kind}.html"


@dataclass(frozen=True)
class Row:
    """The same fact of both builds."""

    label: str
    values: tuple[str, str]
    is_code: bool = False

    @property
    def same(self) -> bool:
        """Whether it is the same of both."""
        return self.values[0] == self.values[1]

    @property
    def is_marked(self) -> bool:
        """Whether to say that it differs: of what only one has, one sees it."""
        return all(self.values) and not self.same
