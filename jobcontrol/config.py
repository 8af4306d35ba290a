"""Configuration objects under the original's names: views on `jobs.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from jobcontrol.exceptions import NotFound
from jobs import config, rendering
from jobs.specs import JobSpec
from jobs.tags import Retval, Secret

__all__ = ["BuildConfig", "JobControlConfig", "Readable", "Retval", "Secret"]


class Readable(Protocol):
    """Anything that configuration can be read from."""

    def read(self) -> str | bytes:
        """Return the whole text."""
        ...


class BuildConfig(dict[str, Any]):
    """The configuration of a build: the job's block as a dict, unknown keys included."""

    @property
    def function(self) -> str:
        """The function's `module:name`."""
        return str(self.get("function") or "")

    @property
    def args(self) -> list[Any]:
        """The positional arguments."""
        return list(self.get("args") or [])

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self.get("kwargs") or {})

    @property
    def dependencies(self) -> list[str]:
        """The dependencies that the block names."""
        return [str(name) for name in self.get("dependencies") or []]

    @property
    def pinned_builds(self) -> dict[str, int]:
        """The builds that the block pins, by job id."""
        return {str(name): number for name, number in (self.get("pinned_builds") or {}).items()}

    @property
    def title(self) -> str:
        """The title, empty if there is none."""
        return str(self.get("title") or "")

    @property
    def notes(self) -> str:
        """The notes, empty if there are none."""
        return str(self.get("notes") or "")


class JobControlConfig:
    """A loaded configuration. Raises `jobs.config.ConfigError` naming all that is wrong."""

    def __init__(self, initial: Mapping[str, Any] | config.Configuration | None = None) -> None:
        if isinstance(initial, config.Configuration):
            self.configuration = initial
        else:
            self.configuration = config.load_object(initial or {})

    @classmethod
    def from_file(cls, filename: str | Path | Readable) -> JobControlConfig:
        """Load from a path, or from anything with a `read()`."""
        if isinstance(filename, str | Path):
            return cls(config.load_file(str(filename)))
        text = filename.read()
        return cls.from_string(text.decode() if isinstance(text, bytes) else text)

    @classmethod
    def from_string(cls, s: str) -> JobControlConfig:
        """Load from text: Jinja first, then YAML."""
        return cls(config.load_text(s))

    @staticmethod
    def preprocess_config(s: str) -> str:
        """Return the text as Jinja expands it."""
        source = rendering.source_of_text("<text>", s)
        return rendering.render(source, folder=None, environ=os.environ).expanded

    @property
    def storage(self) -> str | None:
        """The database URL, if the file has one."""
        return self.configuration.site.storage

    @property
    def jobs(self) -> list[BuildConfig]:
        """The jobs' blocks, in the order of the file."""
        return [BuildConfig(spec.config) for spec in self.configuration.jobs]

    @property
    def webapp(self) -> Mapping[str, Any]:
        """The section `webapp`."""
        return self.configuration.site.webapp

    @property
    def celery(self) -> Mapping[str, Any]:
        """The section `celery` of old files."""
        return self.configuration.site.celery

    @property
    def secret(self) -> Mapping[str, Any]:
        """The section `secret`."""
        return self.configuration.secrets

    def get_job_config(self, job_id: object) -> BuildConfig:
        """Return a job's block. Raises NotFound."""
        return BuildConfig(self._spec(job_id).config)

    get_job = get_job_config

    def get_job_deps(self, job_id: object) -> list[str]:
        """Return the ids of the jobs that this one needs. Raises NotFound."""
        return list(self._spec(job_id).dependencies)

    def get_job_revdeps(self, job_id: object) -> list[str]:
        """Return the ids of the jobs that need this one. Raises NotFound."""
        wanted = self._spec(job_id).id
        return [spec.id for spec in self.configuration.jobs if wanted in spec.dependencies]

    def _spec(self, job_id: object) -> JobSpec:
        for spec in self.configuration.jobs:
            if spec.id == str(job_id):
                return spec
        raise NotFound(f"no job {job_id!r} in the configuration")
