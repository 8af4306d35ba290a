"""Running management commands in the test's own process."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError, call_command


@dataclass
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


def run(name: str, *arguments: object) -> Result:
    """Run a command as the command line would; its errors become code and text."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(name, *(str(argument) for argument in arguments), stdout=out, stderr=err)
    except CommandError as error:
        code = error.returncode
        err.write(f"{error}\n")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    return Result(code, out.getvalue(), err.getvalue())


def run_json(name: str, *arguments: object) -> Any:
    """Run a command that must succeed, and return its document."""
    result = run(name, *arguments, "--format", "json")
    assert result.code == 0, result.err
    return result.json
