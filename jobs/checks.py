"""Checks of the jobs' functions and of `python_path`, without importing job code here.

The functions are looked at by `jobs.inspection` in a process of its own. What was found for a
module that could be imported is kept as long as its file stays the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobcontrol.exceptions import JobControlException
from jobs.specs import JobSpec

MODULE_SECONDS = 20.0
TOTAL_SECONDS = 120.0
CRASH_SECONDS = 5.0
OWN_PACKAGES = ("builds", "jobcontrol", "jobcontrol_site", "jobs")
_ROOT = str(Path(__file__).resolve().parent.parent)


class InspectionFailed(JobControlException):
    """The process that looks at the jobs' functions could not do its work at all."""


@dataclass(frozen=True)
class FunctionCheck:
    """What was found for one job: why it can't run ("" when it can), and its function's docs."""

    problem: str
    signature: str
    docstring: str
    # See `jobs.inspection.parameters_of`; None where they are not known.
    parameters: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class _Question:
    """A function, and how it will be called: how many values, which names."""

    module: str
    name: str
    args: int
    kwargs: tuple[str, ...]

    def to_json(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "module": self.module,
            "name": self.name,
            "args": self.args,
            "kwargs": list(self.kwargs),
        }


Stamp = tuple[str, int, int]
# Questions answered by a module that could be imported, with the stamp of its file then. A module
# that failed is never kept: what was missing may stand elsewhere, and be there now.
_known: dict[_Question, tuple[Stamp, FunctionCheck]] = {}


def check_functions(
    specs: Iterable[JobSpec],
    *,
    python_path: Sequence[str] = (),
    fresh: bool = False,
    module_seconds: float = MODULE_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
) -> dict[str, FunctionCheck]:
    """Check the functions of `specs`; return what was found by job id.

    A module gets `module_seconds` to be imported, all of them `total_seconds`; a job that was not
    reached in time is missing in the result. `fresh` looks again at unchanged modules too.
    Raises InspectionFailed when the checking process itself can't start.
    """
    specs = list(specs)
    wanted = dict.fromkeys(question for spec in specs for _, question in _questions(spec))
    known = {} if fresh else _unchanged(wanted)
    inspection = _Inspection(
        [question for question in wanted if question not in known],
        python_path=python_path,
        module_seconds=module_seconds,
        deadline=time.monotonic() + total_seconds,
    )
    inspection.run()
    known.update(inspection.found)
    return {
        spec.id: _judge(spec, known)
        for spec in specs
        if all(question in known for _, question in _questions(spec))
    }


def _questions(spec: JobSpec) -> Iterator[tuple[str, _Question]]:
    """Yield what to ask for a job, each with the key of the file that names the function."""
    yield "function", _question(spec.function, len(spec.args), spec.kwargs)
    for entry in spec.schedule:
        if entry.args is not None or entry.kwargs is not None:
            args = spec.args if entry.args is None else entry.args
            kwargs = spec.kwargs if entry.kwargs is None else entry.kwargs
            yield f"schedule, {entry}", _question(spec.function, len(args), kwargs)
    if spec.cleanup:
        yield "cleanup", _question(spec.cleanup, 1)
    if spec.repr_function:
        yield "repr_function", _question(spec.repr_function, 1)


def _question(function: str, args: int, kwargs: Iterable[str] = ()) -> _Question:
    module, _, name = function.partition(":")
    return _Question(module, name, args, tuple(sorted(kwargs)))


def _judge(spec: JobSpec, known: dict[_Question, FunctionCheck]) -> FunctionCheck:
    """Put the answers for one job together."""
    answers = [(key, known[question]) for key, question in _questions(spec)]
    if len(answers) == 1:
        return answers[0][1]
    problems = [
        answer.problem if key == "function" else f"{key}: {answer.problem}"
        for key, answer in answers
        if answer.problem
    ]
    main = answers[0][1]
    return FunctionCheck("\n".join(problems), main.signature, main.docstring, main.parameters)


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return path, found.st_mtime_ns, found.st_size


def _unchanged(wanted: Iterable[_Question]) -> dict[_Question, FunctionCheck]:
    """Return what is known of modules whose file is still the same; one stat per file."""
    stamps: dict[str, Stamp | None] = {}
    known = {}
    for question in wanted:
        if question not in _known:
            continue
        stamp, answer = _known[question]
        if stamp[0] not in stamps:
            stamps[stamp[0]] = _stamp(stamp[0])
        if stamps[stamp[0]] == stamp:
            known[question] = answer
    return known


@dataclass
class _Inspection:
    """Asks inspection processes, one after the other, until every question has its answer."""

    questions: list[_Question]
    python_path: Sequence[str]
    module_seconds: float
    deadline: float
    found: dict[_Question, FunctionCheck] = field(default_factory=dict)

    def run(self) -> None:
        """Ask until all is answered or the time is over."""
        while time.monotonic() < self.deadline:
            left = [question for question in self.questions if question not in self.found]
            if not left:
                return
            ending = _Process(left, self.python_path).ask(self)
            if not ending.reason:
                return
            # A crash counts only where nothing was imported before: else it may be the doing of
            # an earlier module, and the next process starts with this one to find out.
            if ending.is_certain:
                self._blame(ending)

    def _blame(self, ending: _Ending) -> None:
        problem = f"module {ending.module!r} can't be imported: {ending.reason}"
        for question in self.questions:
            if question.module == ending.module and question not in self.found:
                self.found[question] = FunctionCheck(problem, "", "")

    def take(self, question: _Question, line: dict[str, Any], stamp: Stamp | None) -> None:
        """Record an answer, and keep it for later when it came from a module file."""
        answer = FunctionCheck(
            line["problem"], line["signature"], line["docstring"], line["parameters"]
        )
        self.found[question] = answer
        _known.pop(question, None)
        if stamp is not None:
            _known[question] = (stamp, answer)


@dataclass(frozen=True)
class _Ending:
    """How a process ended: at which module and why (no reason: it answered everything)."""

    module: str = ""
    reason: str = ""
    is_certain: bool = True


class _Process:
    """One inspection process."""

    def __init__(self, questions: list[_Question], python_path: Sequence[str]) -> None:
        self.questions = questions
        self.module = ""
        self.imported = 0
        self.stamp: Stamp | None = None
        read_end, write_end = os.pipe()
        asked = json.dumps(
            {
                "sys_path": _search_path(python_path),
                "settings": bool(os.environ.get("DJANGO_SETTINGS_MODULE")),
                "questions": [q.to_json(index) for index, q in enumerate(questions)],
            }
        )
        with tempfile.TemporaryFile() as stdin:
            stdin.write(asked.encode("ascii"))
            stdin.seek(0)
            try:
                self.process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-P", "-m", "jobs.inspection", str(write_end)],
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=[write_end],
                    start_new_session=True,
                )
            except OSError as error:
                os.close(read_end)
                raise InspectionFailed(
                    f"the jobs' functions can't be checked: Python did not start ({error})"
                ) from error
            finally:
                os.close(write_end)
        self.read_end = read_end

    def ask(self, inspection: _Inspection) -> _Ending:
        """Hand the answers to `inspection` as they come; return how it ended."""
        try:
            return self._ask(inspection)
        finally:
            os.close(self.read_end)
            self._stop()

    def _ask(self, inspection: _Inspection) -> _Ending:
        pending = b""
        limit = min(inspection.deadline, time.monotonic() + inspection.module_seconds)
        while select.select([self.read_end], [], [], max(0.0, limit - time.monotonic()))[0]:
            data = os.read(self.read_end, 65536)
            if not data:
                return self._crashed()
            *lines, pending = (pending + data).split(b"\n")
            for text in lines:
                if self._take(json.loads(text), inspection):
                    return _Ending()
                limit = min(inspection.deadline, time.monotonic() + inspection.module_seconds)
        if time.monotonic() >= inspection.deadline:
            return _Ending()
        if not self.module:
            raise InspectionFailed("the jobs' functions can't be checked: Django did not start")
        return _Ending(self.module, f"it took more than {inspection.module_seconds:g} seconds")

    def _take(self, line: dict[str, Any], inspection: _Inspection) -> bool:
        """Take one line; return whether it was the last."""
        if "module" in line:
            self.module, self.stamp = line["module"], None
            self.imported += 1
        elif "file" in line:
            self.stamp = _stamp(line["file"]) if line["file"] else None
        elif "answer" in line:
            inspection.take(self.questions[line["answer"]], line, self.stamp)
        elif "fatal" in line:
            raise InspectionFailed(f"the jobs' functions can't be checked: {line['fatal']}")
        return "done" in line

    def _crashed(self) -> _Ending:
        try:
            code = self.process.wait(timeout=CRASH_SECONDS)
        except subprocess.TimeoutExpired:
            return _Ending(self.module, "it closes the files of the process")
        if not self.module:
            raise InspectionFailed(
                f"the jobs' functions can't be checked: the process ended at once ({code})"
            )
        if code < 0:
            reason = f"it ends the process ({signal.Signals(-code).name})"
        else:
            reason = f"it ends the process (exit status {code})"
        return _Ending(self.module, reason, is_certain=self.imported == 1)

    def _stop(self) -> None:
        """End the process and everything that it started (its session is its own)."""
        # No such process: it ended by itself and left nothing behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _search_path(python_path: Sequence[str]) -> list[str]:
    here = [entry or os.getcwd() for entry in sys.path]
    return here + [entry for entry in python_path if entry not in here]


def _environment() -> dict[str, str]:
    before = os.environ.get("PYTHONPATH", "")
    path = _ROOT + (os.pathsep + before if before else "")
    # The same order of sets in every run, so that a signature reads the same each time.
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def path_clashes(python_path: Sequence[str]) -> list[str]:
    """Name what stands in `python_path` and can't be imported: the same names are taken.

    The folders come last on sys.path, so our own packages and Python's library win.
    """
    taken = set(OWN_PACKAGES) | set(sys.stdlib_module_names)
    clashes = []
    for folder in python_path:
        if Path(folder).resolve() == Path(_ROOT):
            continue
        for name in sorted(_modules_in(folder) & taken):
            owner = "JobControl's own package" if name in OWN_PACKAGES else "Python's own module"
            clashes.append(
                f"{name!r} in {folder} is hidden by {owner} of that name: "
                "jobs can't import it. Rename it."
            )
    return clashes


def _modules_in(folder: str) -> set[str]:
    names: set[str] = set()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return names
    for entry in entries:
        stem, dot, ending = entry.name.partition(".")
        if entry.is_dir():
            if not dot and _holds_python(entry.path):
                names.add(entry.name)
        elif ending in {"py", "pyc"} or ending.endswith(("so", "pyd")):
            names.add(stem)
    return names


def _holds_python(folder: str) -> bool:
    try:
        return any(entry.name.endswith(".py") for entry in os.scandir(folder))
    except OSError:
        return False
