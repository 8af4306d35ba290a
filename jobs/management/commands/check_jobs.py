"""`check_jobs`: is the configuration file right, and can each job's function be called?"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings

from jobcontrol_site.commands import EXIT_WRONG
from jobcontrol_site.commands import Command as BaseCommand
from jobs import checks
from jobs.config import Configuration, load_file
from jobs.redaction import Redactor
from jobs.secrets import redactor_of


class Command(BaseCommand):
    """Checks the file and the functions; needs no database and writes nothing."""

    help = (
        "Check the configuration file, the function of each job and the folders of python_path. "
        "Ends with exit code 2 when something is wrong."
    )

    def run(self, **options: Any) -> None:
        """Check, tell everything that was found, and fail when a job can't run."""
        configuration = load_file(str(settings.JOBCONTROL_CONFIG))
        found = report(configuration, redactor_of(configuration))
        self.emit(found, human=_for_people)
        if found["problems"]:
            sys.exit(EXIT_WRONG)


def report(configuration: Configuration, redactor: Redactor) -> dict[str, Any]:
    """Return the jobs with signatures, problems by job id, and warnings; secrets masked."""
    found = checks.check_functions(
        configuration.jobs, python_path=configuration.site.python_path, fresh=True
    )
    problems, jobs = {}, []
    for spec in configuration.jobs:
        check = found.get(spec.id)
        problem = check.problem if check else "not checked: the time was over"
        signature = check.signature if check else ""
        if problem:
            problems[spec.id] = problem
        jobs.append({"id": spec.id, "function": spec.function, "signature": signature})
    warnings = [str(warning) for warning in configuration.warnings]
    warnings += checks.path_clashes(configuration.site.python_path)
    masked: dict[str, Any] = redactor.redact_json(
        {"jobs": jobs, "problems": problems, "warnings": warnings}
    )
    return {"path": configuration.path, **masked}


def _for_people(found: dict[str, Any]) -> str:
    lines = [f"warning: {warning}" for warning in found["warnings"]]
    for job_id, problem in found["problems"].items():
        lines += [f"job {job_id!r}: {line}" for line in problem.splitlines()]
    jobs, wrong = len(found["jobs"]), len(found["problems"])
    verdict = "all can run" if not wrong else f"{wrong} can't run"
    return "\n".join([*lines, f"{jobs} job{'' if jobs == 1 else 's'} checked, {verdict}."])
