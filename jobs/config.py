"""The configuration file: from a path to checked jobs, or every mistake in it at once.

Each stage has its module: `rendering` (reading, Jinja), `parsing` (bounded YAML), `sections`,
`specs` and `interpreting` (typed values, references, cycles), `locating` (which line). This one
joins them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobcontrol.utils.collecting import collector_paused
from jobs.interpreting import Interpreter
from jobs.locating import Locator
from jobs.objects import clean_object
from jobs.parsing import MAX_DEPTH, MAX_NODES, Document, YamlError, parse
from jobs.problems import ConfigError, Finding, Problem
from jobs.redaction import Redactor
from jobs.rendering import MAX_BYTES, Rendered, Source, read_source, render, source_of_text
from jobs.sections import SectionReader, SiteSections, WorkerSection, all_secrets
from jobs.specs import JobSpec
from jobs.tags import to_yaml

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "MAX_PROBLEMS",
    "ConfigError",
    "Configuration",
    "JobSpec",
    "Problem",
    "SiteSections",
    "Source",
    "WorkerSection",
    "all_secrets",
    "fingerprint",
    "load_file",
    "load_object",
    "load_site_sections",
    "load_text",
]

MAX_PROBLEMS = 1000  # told one by one; of more, only their number

FileStamp = tuple[str, int, int, int]


@dataclass(frozen=True)
class Configuration:
    """A configuration without a mistake.

    `path` is "" when it came from objects. `sources` are the file and then its includes, as read;
    `paths` are all files that a change of this configuration can come from, also missing ones.
    `expanded` is the text after Jinja, `hash` its SHA-256. Both hold secrets as they are.
    """

    path: str
    sources: tuple[Source, ...]
    expanded: str
    hash: str
    jobs: tuple[JobSpec, ...]
    site: SiteSections
    warnings: tuple[Problem, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def secrets(self) -> Mapping[str, object]:
        """The values under `secret:`."""
        return self.site.secrets

    def job(self, job_id: str) -> JobSpec:
        """Return the job of that id. Raises KeyError."""
        return self._index[job_id]

    @cached_property
    def _index(self) -> dict[str, JobSpec]:
        return {job.id: job for job in self.jobs}

    @cached_property
    def graph(self) -> dict[str, list[str]]:
        """`{job id: ids of its dependencies}` in the order of the file."""
        return {job.id: list(job.dependencies) for job in self.jobs}


@collector_paused()
def load_file(path: str | Path, *, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Load a configuration file. Raises `ConfigError` with every problem found."""
    source = read_source(path)
    return _load(source, Path(path).parent, environ)


def load_text(
    text: str,
    *,
    base: str | Path | None = None,
    name: str = "<text>",
    environ: Mapping[str, str] = os.environ,
) -> Configuration:
    """Load a configuration from text; includes come from the folder `base`.

    Raises `ConfigError` with every problem found, under `name`.
    """
    return _load(source_of_text(name, text), base, environ)


def load_object(mapping: Mapping[str, Any]) -> Configuration:
    """Load a configuration from plain Python values. Raises `ConfigError`."""
    document = clean_object(mapping)
    locator = Locator("", None)
    if any(finding.rule == "depth" for finding in document.findings):
        raise ConfigError(locator.problem(finding, Redactor({})) for finding in document.findings)
    configuration = _interpret(document, locator, None)
    expanded = to_yaml(document.value)
    return replace(configuration, expanded=expanded, hash=_digest(expanded))


def load_site_sections(
    path: str | Path, *, environ: Mapping[str, str] = os.environ
) -> SiteSections:
    """Load everything but the jobs, which are read past.

    Raises `ConfigError` only when the file can't be read, rendered or parsed at all; values that
    are wrong are left out and stand in `problems`.
    """
    source = read_source(path)
    base = Path(path).parent
    rendered = render(source, folder=base, environ=environ)
    locator = Locator(source.path, rendered)
    document = _parse(rendered, locator, skip="jobs")
    reader = SectionReader(document, base)
    sections = reader.read()
    redactor = Redactor(all_secrets(sections))
    findings = [*document.findings, *reader.problems]
    return replace(
        sections,
        problems=_in_order(findings, locator, redactor),
        warnings=_in_order(reader.warnings, locator, redactor),
    )


def fingerprint(paths: Iterable[str | Path]) -> tuple[FileStamp | None, ...]:
    """Return (path, mtime in ns, size in bytes, inode) of each file, None where there is none."""
    return tuple(_stamp(str(path)) for path in paths)


def _stamp(path: str) -> FileStamp | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # missing or out of reach: both end when it can be read again
        return None
    return path, status.st_mtime_ns, status.st_size, status.st_ino


def _load(source: Source, base: str | Path | None, environ: Mapping[str, str]) -> Configuration:
    rendered = render(source, folder=base, environ=environ)
    locator = Locator(source.path, rendered)
    try:
        configuration = _interpret(_parse(rendered, locator), locator, base)
    except ConfigError as error:
        raise ConfigError(error.problems, rendered.paths) from error
    return replace(
        configuration,
        sources=rendered.sources,
        paths=rendered.paths,
        expanded=rendered.expanded,
        hash=_digest(rendered.expanded),
    )


def _parse(rendered: Rendered, locator: Locator, skip: str | None = None) -> Document:
    try:
        return parse(rendered.expanded, skip=skip)
    except YamlError as error:
        nothing = Redactor({})
        problems = [locator.problem(finding, nothing) for finding in error.findings]
        raise ConfigError(problems, rendered.paths) from error


def _interpret(document: Document, locator: Locator, base: str | Path | None) -> Configuration:
    reader = SectionReader(document, base)
    sections = reader.read()
    redactor = Redactor(all_secrets(sections))
    interpreter = Interpreter(document, Redactor(sections.secrets))
    interpreter.run()
    findings = [*document.findings, *reader.problems, *interpreter.problems]
    if findings:
        raise ConfigError(_in_order(findings, locator, redactor))
    warnings = _in_order([*reader.warnings, *interpreter.warnings], locator, redactor)
    return Configuration(
        path=locator.path,
        sources=(),
        expanded="",
        hash="",
        jobs=tuple(interpreter.specs),
        site=replace(sections, warnings=warnings),
        warnings=warnings,
    )


def _in_order(findings: list[Finding], locator: Locator, redactor: Redactor) -> tuple[Problem, ...]:
    """Return the problems in the order of their lines, those without a line last."""
    ordered = sorted(findings, key=lambda finding: finding.line or 10**9)
    if len(ordered) > MAX_PROBLEMS:
        more = len(ordered) - MAX_PROBLEMS
        ordered[MAX_PROBLEMS:] = [Finding("more", f"and {more:,} more like these")]
    return tuple(locator.problem(finding, redactor) for finding in ordered)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
