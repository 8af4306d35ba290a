"""The base of all our management commands: one way to answer and one way to fail.

A mistake of the person (a wrong file, an unknown job, a database without tables) ends the command
with exit code 2 and one clear line on stderr for each thing that is wrong, never a Python
traceback (`--traceback` shows it). With `--format json` stdout carries one document, nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from jobcontrol.exceptions import JobControlException

EXIT_BUILD_FAILED = 1
EXIT_WRONG = 2


@contextmanager
def kept_clean() -> Iterator[None]:
    """Send what is written to descriptor 1 to stderr: child processes of a job write there too."""
    sys.stdout.flush()
    try:
        copy = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        yield  # there is no stdout or stderr to keep apart
        return
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(copy, 1)
        os.close(copy)


@contextmanager
def quieted(name: str, level: int) -> Iterator[None]:
    """Let a logger of ours say nothing below `level` while the body runs."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


class Command(BaseCommand):
    """A command that answers people or programs. Subclasses write `run` and call `emit`."""

    output_format = "human"
    # Django's checks are for developers; ours of the jobs are the command `check_jobs`.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Make the parser, which tells a mistake in one line."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.error = partial(_parser_error, parser)  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--format`; subclasses call this and add their own."""
        parser.add_argument(
            "--format",
            dest="output_format",
            choices=["human", "json"],
            default="human",
            help="how to answer: text for people, or one JSON document",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - Django's signature
        """Run the command and turn mistakes into lines on stderr and exit code 2."""
        self.output_format = options.get("output_format") or "human"
        try:
            self.run(**options)
        except JobControlException as error:
            self._fail(str(error), error, show_traceback=bool(options.get("traceback")))
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            self._fail(
                f"the database can't be used: {reason}. If its tables are missing or old, "
                "run 'migrate' first.",
                error,
                show_traceback=bool(options.get("traceback")),
            )

    def run(self, **options: Any) -> None:
        """Do the work of the command. `options` are the parsed arguments by name."""
        raise NotImplementedError(f"{type(self).__module__} has no run()")

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads stdout as it comes."""
        return self.output_format == "human" and self.stdout.isatty()

    def emit(self, data: Any, *, human: Callable[[Any], str]) -> None:
        """Answer with `data`: as one JSON document, or as the text that `human(data)` gives."""
        if self.output_format == "json":
            self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str))
        else:
            text = human(data)
            if text:
                self.stdout.write(text)

    def warn(self, text: str) -> None:
        """Write a line for people to stderr; the command goes on."""
        self.stderr.write(f"jobcontrol: {text}")

    def _fail(self, text: str, error: Exception, *, show_traceback: bool) -> NoReturn:
        if show_traceback:
            raise error
        if not self._called_from_command_line:  # type: ignore[attr-defined]  # Django's stubs
            raise CommandError(text, returncode=EXIT_WRONG) from error
        for line in text.splitlines():
            self.stderr.write(f"jobcontrol: {line}")
        sys.exit(EXIT_WRONG)


def _parser_error(parser: CommandParser, message: str) -> NoReturn:
    if not parser.called_from_command_line:
        raise CommandError(f"Error: {message}", returncode=EXIT_WRONG)
    sys.stderr.write(f"jobcontrol: {message} (see {parser.prog} --help)\n")
    sys.exit(EXIT_WRONG)
