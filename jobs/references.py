"""What a configuration can hold besides plain values: references that a build resolves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retval:
    """`!retval JOB`: the return value of the dependency build of that job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Secret:
    """`!secret NAME`: a value under `secret:`; `form` is a spelling of `jobs.spellings`."""

    name: str
    form: str = "raw"


@dataclass(frozen=True, slots=True)
class Text:
    """A string (or bytes, when `binary`) in which secrets' values stood, as references now."""

    parts: tuple[str | Secret, ...]
    binary: bool = False
