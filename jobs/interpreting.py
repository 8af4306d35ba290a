"""From a parsed document to specs: every check that needs more than one value."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from jobs import graph
from jobs.parsing import Document
from jobs.problems import Finding, describe, nearest, quoted
from jobs.redaction import Redactor
from jobs.references import Retval, Secret
from jobs.specs import JobSpec, build_spec
from jobs.tags import BLOCK_KEYS, jobs_of, references_in

MAX_HINTS = 20


class Interpreter:
    """Checks the jobs of a document; collects specs, problems and warnings."""

    def __init__(self, document: Document, secrets: Redactor) -> None:
        self.document = document
        self.secret_names = secrets.names
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []
        self.specs: list[JobSpec] = []
        # Ids of all blocks, also of those with other mistakes: references to them are right.
        self.lines: dict[str, int | None] = {}
        self.hints = MAX_HINTS

    def run(self) -> None:
        """Check everything."""
        blocks = list(self._blocks())
        references = [references_in(block) for _, block in blocks]
        for (index, block), found in zip(blocks, references, strict=True):
            self._check_block(index, block, found)
        wanted: dict[str, list[str]] = {}
        for (_, block), found in zip(blocks, references, strict=True):
            self._check_references(block, found)
            job = _id_of(block)
            if job is not None:
                wanted.setdefault(job, []).extend(_wanted(block, found))
        for cycle in graph.find_cycles(wanted):
            self._report_cycle(cycle)
        self._name_jobs(blocks)

    def _name_jobs(self, blocks: list[tuple[int, dict[Any, Any]]]) -> None:
        """Say which job and key the parser's findings belong to: the last that began before."""
        found = self.document.findings
        if not found or not isinstance(self.document.value, dict):
            return
        top = self.document.value
        starts: list[tuple[int, str | None, str | None]] = [
            (self.document.line(top, key) or 0, None, str(key)) for key in top
        ]
        for index, block in blocks:
            name = _id_of(block) or f"number {index + 1}"
            starts.append((self.document.line(block) or 0, name, None))
            starts += [(self.document.line(block, key) or 0, name, str(key)) for key in block]
        starts.sort(key=lambda start: start[0])
        lines = [line for line, _, _ in starts]
        for position, finding in enumerate(found):
            if finding.line is None or not lines or finding.line < lines[0]:
                continue
            _, job, key = starts[bisect_right(lines, finding.line) - 1]
            found[position] = finding._replace(job=job, key=finding.key or key)

    def _blocks(self) -> Iterable[tuple[int, dict[Any, Any]]]:
        top = self.document.value
        jobs = top.get("jobs") if isinstance(top, dict) else []
        if jobs is None:
            line = self.document.line(top, "jobs") if isinstance(top, dict) else None
            self.warnings.append(Finding("no-jobs", "the file has no jobs", line, "jobs"))
            return
        if not isinstance(jobs, list | tuple):
            message = f"must be a list, each item beginning with '- id: …', not {describe(jobs)}"
            self.problems.append(Finding("type", message, self.document.line(top, "jobs"), "jobs"))
            return
        for index, block in enumerate(jobs):
            if isinstance(block, dict):
                yield index, block
            else:
                message = f"job {index + 1} of the list must be a mapping, not {describe(block)}"
                line = self.document.line(jobs, index)
                self.problems.append(Finding("type", message, line, "jobs"))

    def _check_block(self, index: int, block: dict[Any, Any], references: list[Any]) -> None:
        job = _id_of(block)
        name = job if job is not None else f"number {index + 1}"
        for key in block:
            if not isinstance(key, str) or key.startswith("!"):
                message = (
                    f"a job's key must be text that does not begin with '!', not {quoted(key)}"
                )
                self.problems.append(
                    Finding("key", message, self.document.line(block, key), None, name)
                )
            elif key not in BLOCK_KEYS:
                hint = _nearest_key(str(key))
                message = f"unknown key, kept for the job's own use{hint}"
                line = self.document.line(block, key)
                self.warnings.append(Finding("unknown-key", message, line, str(key), name))
        spec, problems = build_spec(block, jobs_of(references))
        for problem in problems:
            line = self.document.line(block, *problem.place)
            key = str(problem.place[0]) if problem.place else None
            self.problems.append(Finding(problem.rule, problem.message, line, key, name))
        if job is not None:
            self._register(job, block)
        if spec is not None:
            self.specs.append(spec)
            if spec.protected and spec.rebuild == "auto":
                message = "a protected job is not rebuilt by itself: it has to be armed"
                line = self.document.line(block, "rebuild")
                self.warnings.append(Finding("rebuild", message, line, "rebuild", name))

    def _register(self, job: str, block: dict[Any, Any]) -> None:
        line = self.document.line(block, "id")
        if job not in self.lines:
            self.lines[job] = line
            return
        first = self.lines[job]
        where = f" (line {first})" if first is not None else ""
        message = f"another job{where} has this id already"
        self.problems.append(Finding("duplicate-id", message, line, "id", job))

    def _check_references(self, block: dict[Any, Any], references: list[Any]) -> None:
        job = _id_of(block)
        for reference in references:
            if isinstance(reference, Retval) and reference.job_id not in self.lines:
                line = self.document.line_of_mark(reference)
                self._unknown_job(reference.job_id, line, job, "!retval")
            elif isinstance(reference, Secret) and reference.name not in self.secret_names:
                line = self.document.line_of_mark(reference)
                message = f"there is no secret {quoted(reference.name)} under 'secret:'"
                hint = nearest(reference.name, self.secret_names)
                finding = Finding("unknown-secret", message + hint, line, "!secret", job)
                self.problems.append(finding)
        self._check_names(block, job, "dependencies")
        self._check_names(block, job, "pinned_builds")

    def _check_names(self, block: dict[Any, Any], job: str | None, key: str) -> None:
        names = block.get(key)
        places: Iterable[tuple[object, object]] = ()
        if isinstance(names, dict):
            places = ((name, name) for name in names)
        elif isinstance(names, list | tuple):
            places = enumerate(names)
        for place, name in places:
            text = _id_text(name)
            if text is not None and text not in self.lines:
                self._unknown_job(text, self.document.line(block, key, place), job, key)

    def _unknown_job(self, name: str, line: int | None, job: str | None, key: str) -> None:
        hint = ""
        if self.hints:  # looking for a near name among thousands takes its time
            self.hints -= 1
            hint = nearest(name, self.lines)
        message = f"there is no job {quoted(name)} in this file{hint}"
        self.problems.append(Finding("unknown-job", message, line, key, job))

    def _report_cycle(self, cycle: list[str]) -> None:
        message = f"these jobs depend on each other in a circle: {graph.format_cycle(cycle)}"
        finding = Finding("cycle", message, self.lines[cycle[0]], "dependencies", cycle[0])
        self.problems.append(finding)


@lru_cache(maxsize=1024)
def _nearest_key(name: str) -> str:
    return nearest(name, sorted(BLOCK_KEYS))


def _wanted(block: dict[Any, Any], references: list[Any]) -> list[str]:
    """Return the jobs that a block depends on, as far as it says so rightly."""
    given = block.get("dependencies")
    explicit = [_id_text(name) for name in given] if isinstance(given, list | tuple) else []
    return [name for name in (*explicit, *jobs_of(references)) if name is not None]


def _id_text(value: object) -> str | None:
    if isinstance(value, str) or type(value) is int:
        return str(value)
    return None


def _id_of(block: dict[Any, Any]) -> str | None:
    return _id_text(block.get("id"))
