"""The script `jobcontrol-cli`, and `manage.py`: arguments to environment, then to a command.

    jobcontrol-cli [--config-file F] [--format human|json] NAME ...

The environment is complete before Django is set up: the settings read it once. What can't be
started at all ends with one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line, get_commands
from django.db import DatabaseError

from jobcontrol.exceptions import JobControlException
from jobcontrol_site import server

EXIT_WRONG = 2
EXIT_INTERRUPTED = 130  # as shells count a program ended by SIGINT
EXIT_BROKEN_PIPE = 141  # and by SIGPIPE

# What `--help` lists. The texts are the commands' own (a test compares them): asking the commands
# for them would need a configuration, which a person who asks for help may not have yet.
SITE_COMMANDS = {
    "install": "Make the database's tables, or bring them up to date.",
    "uninstall": "Drop all tables, with every build in them.",
    "web": "Serve the pages.",
    "worker": "Run the worker processes that build jobs.",
}
COMMANDS = {
    "sync_jobs": "Read the configuration file and bring the jobs in the database up to date "
    "with it.",
    "check_jobs": "Check the configuration file, the function of each job and the folders of "
    "python_path.",
    "dump_config": "Print the configuration file as Jinja expanded it, with every secret masked.",
    "list_jobs": "List the jobs and where they stand.",
    "show_job": "Show one job.",
    "list_builds": "List builds, of one job or of all, newest first.",
    "get_build": "Show one build.",
    "build_log": "Print the log of a build.",
    "build_job": "Build a job, here or in a worker.",
    "cancel_build": "Cancel builds that wait or run.",
    "list_plans": "List plans, for one job or for all, newest first.",
    "show_plan": "Show one plan: builds that were asked for together.",
    "cancel_plan": "Cancel what has not ended of a plan.",
    "resume_plan": "Build again what did not succeed in a plan, using what did.",
    "delete_build": "Delete builds, each after its job's cleanup.",
    "list_workers": "List the workers, by host and cluster, and what each of them runs.",
    "drain_cluster": "Let the workers of a cluster take no more builds, or take it up again.",
    "keep_build": "Mark builds to be kept, whatever the file's retention says.",
    "prune_builds": "Remove old builds, as the file's retention says.",
    "prune_logs": "Delete old log messages.",
}
_ANSWERING = {*COMMANDS, "uninstall"}  # those that have --format


class _Mistake(Exception):  # noqa: N818 - a person's, not a fault
    """Something in the request is wrong; the text says what."""


class _Parser(argparse.ArgumentParser):
    """A parser that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        raise _Mistake(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `jobcontrol-cli` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _run(arguments))


def manage(argv: Sequence[str] | None = None) -> int:
    """Run `manage.py` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _django(arguments))


# --- Reading the command line ---------------------------------------------------------------------


def split(arguments: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return our own options, the command's name with underscores, and the command's arguments."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        takes_value = arguments[position] in ("--config-file", "--format")
        position += 2 if takes_value else 1
    name = arguments[position] if position < len(arguments) else ""
    return list(arguments[:position]), name.replace("-", "_"), list(arguments[position + 1 :])


def _own_parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<14} {text}" for name, text in {**SITE_COMMANDS, **COMMANDS}.items()]
    parser = _Parser(
        prog="jobcontrol-cli",
        usage="%(prog)s [--config-file F] [--format human|json] NAME ...",
        description="Build jobs, and look after what was built.",
        epilog="commands:\n"
        + "\n".join(lines)
        + "\n\nNames may be written with dashes. 'NAME --help' explains a command. Django's own "
        "commands work too,\nfor example 'createsuperuser' and 'changepassword'.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config-file", metavar="F", help="the configuration file to use")
    parser.add_argument("--format", choices=["human", "json"], help="how commands answer")
    return parser


def _run(arguments: list[str]) -> int:
    own, name, rest = split(arguments)
    parser = _own_parser()
    options = parser.parse_args(own)
    if not name:
        parser.print_help()
        return 0
    if options.config_file is not None:
        _use_config_file(options.config_file)
    runner = {"install": _install, "web": _web, "worker": _worker}.get(name)
    if runner:
        return runner(rest, options.format == "json")
    if options.format:
        if name not in _ANSWERING:
            raise _Mistake(f"{name!r} has no --format")
        rest = ["--format", options.format, *rest]
    return _django([name, *rest])


def _use_config_file(name: str) -> None:
    path = Path(name)
    if not path.is_file():
        raise _Mistake(f"--config-file {name}: there is no such file")
    os.environ["JOBCONTROL_CONFIG"] = str(path.resolve())


# --- Running commands -----------------------------------------------------------------------------


def load_settings() -> None:
    """Set up Django. Raises ImproperlyConfigured or JobControlException with a text for people."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobcontrol_site.settings")
    _ = settings.INSTALLED_APPS  # reads the settings
    django.setup()


def _django(arguments: list[str]) -> int:
    """Run a management command in this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobcontrol_site.settings")
    name = arguments[0] if arguments else "help"
    if not name.startswith("-"):
        name = name.replace("-", "_")
    command_line = [_program(), name, *arguments[1:]]
    # The settings and runserver's reloader look here.
    sys.argv[1:] = command_line[1:]
    if name not in ("help", "version", "--help", "-h", "--version"):
        load_settings()
        _check_name(name)
    execute_from_command_line(command_line)
    return 0


def _check_name(name: str) -> None:
    known = get_commands()
    if name not in known:
        near = get_close_matches(name, [*COMMANDS, *known], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f" (see {_program()} --help)"
        raise _Mistake(f"there is no command {name!r}{hint}")


def _install(arguments: list[str], as_json: bool) -> int:
    parser = _Parser(prog="jobcontrol-cli install", description=SITE_COMMANDS["install"])
    parser.parse_args(arguments)
    quiet = ["--verbosity", "0"] if as_json else []
    code = _django(["migrate", "--noinput", *quiet])
    if as_json:
        sys.stdout.write(json.dumps({"installed": True}) + "\n")
    else:
        sys.stdout.write("Ready. Make a first user with 'jobcontrol-cli createsuperuser'.\n")
    return code


def _web(arguments: list[str], _as_json: bool) -> int:
    parser = _Parser(prog="jobcontrol-cli web", description=SITE_COMMANDS["web"])
    parser.add_argument("--host", help="the address to listen on (else HOST, else 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="the port (else PORT, else 8000)")
    parser.add_argument(
        "--debug", action="store_true", help="Django's development server, with DEBUG on"
    )
    options = parser.parse_args(arguments)
    if options.debug:
        os.environ["DEBUG"] = "true"
        # The settings look for it, to not keep a connection open for each thread.
        sys.argv[1:] = ["runserver"]
    if options.host:
        os.environ["HOST"] = options.host
    if options.port:
        os.environ["PORT"] = str(options.port)
    load_settings()
    if not server.is_free(settings.HOST, settings.PORT):
        raise _Mistake(
            f"port {settings.PORT} of {settings.HOST} can't be used: another program may listen "
            "there. Choose another with --port."
        )
    if options.debug:
        return _django(["runserver", server.address(settings.HOST, settings.PORT)])
    server.serve(settings.HOST, settings.PORT)
    return 0


def _worker(arguments: list[str], _as_json: bool) -> int:
    parser = _Parser(
        prog="jobcontrol-cli worker",
        usage="%(prog)s [--broker URL] [--queue NAME] [-- more arguments of qcluster]",
        description=SITE_COMMANDS["worker"],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--broker", metavar="URL", help="redis://...: the Redis that carries wake-ups"
    )
    parser.add_argument(
        "--queue", metavar="NAME", action="append", help="run builds of this queue only"
    )
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, more = parser.parse_known_args(arguments[:end])
    if options.broker is not None:
        if not options.broker.startswith(("redis://", "rediss://", "unix://")):
            raise _Mistake("--broker must be a Redis URL such as redis://localhost:6379/0")
        os.environ["REDIS_URL"] = options.broker
    queues = [f"--queue={name}" for name in options.queue or []]
    return _django(["qcluster", *queues, *more, *arguments[end + 1 :]])


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use a number from 1 to 65535")
    return int(text)


def _program() -> str:
    name = Path(sys.argv[0]).name
    return name if name in ("manage.py", "jobcontrol-cli") else "jobcontrol-cli"


# --- Ending ---------------------------------------------------------------------------------------


def _guarded(run: Callable[[], int]) -> int:
    """Turn what can go wrong before or around a command into lines and exit codes."""
    try:
        code = run()
        sys.stdout.flush()
    except (_Mistake, ImproperlyConfigured, JobControlException) as error:
        return complain(str(error))
    except DatabaseError as error:
        return complain(f"the database can't be used: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`... | head`). What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return code


def complain(text: str) -> int:
    """Say on stderr what is wrong and return the exit code for it."""
    for line in text.splitlines():
        sys.stderr.write(f"jobcontrol: {line}\n")
    return EXIT_WRONG


if __name__ == "__main__":
    sys.exit(main())
