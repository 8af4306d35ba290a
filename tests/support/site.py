"""A whole site in a temporary folder, worked by real child processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests import bootstrap
from tests.support.databases import psycopg_url

# Seconds. Generous: they only end a test that would hang.
COMMAND_TIMEOUT = 180
START_TIMEOUT = 60
STOP_TIMEOUT = 40

# The variable that names an SQLite database with all tables, which new sites copy.
MIGRATED = "JOBCONTROL_TEST_MIGRATED"


def process_tree(leader: int) -> list[psutil.Process]:
    """Return the living processes of the session that `leader` began, and their descendants.

    By session, so that those whose parent was killed are found as well.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                for member in (process, *process.children(recursive=True)):
                    found.setdefault(member.pid, member)
    return [process for process in found.values() if process.is_running()]


def wait_until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait until `condition()` is true and return it; generous, it only ends a hanging test."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return result


def kill_tree(processes: list[psutil.Process]) -> None:
    """Kill these processes (by pid and start time, as psutil knows them) and wait for them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


class Cluster:
    """A running `manage.py qcluster` of a site."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.pid = process.pid

    @property
    def output(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Return its living processes, also those that outlived the main one."""
        return process_tree(self.pid)

    def wait_until_ready(self) -> None:
        """Wait until it says that it works.

        Raises AssertionError with its output when it ends instead, or takes too long.
        """
        end = time.monotonic() + START_TIMEOUT
        while "workers are ready" not in self.output:
            assert self.process.poll() is None, f"qcluster ended at its start:\n{self.output}"
            assert time.monotonic() < end, f"qcluster did not get ready:\n{self.output}"
            time.sleep(0.05)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """Ask it to stop as a service manager would, wait, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=timeout)


class Site:
    """A folder with its configuration, modules, database and environment.

    `env` is the environment of its child processes; change it to change theirs.
    """

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.config_path = folder / "jobcontrol.yaml"
        self.env = self._environment()
        self._clusters = 0
        self._started: list[subprocess.Popen[Any]] = []
        self.write_config("jobs: []\n")

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_processes()

    def _environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if k not in bootstrap.SITE_VARIABLES}
        return env | {
            "DATABASE_URL": self.database_url,
            "DJANGO_SETTINGS_MODULE": "jobcontrol_site.settings",
            "JOBCONTROL_CONFIG": str(self.config_path),
            "PYTHONPATH": str(bootstrap.ROOT),
            "PYTHONUNBUFFERED": "1",
            "SECRET_KEY": bootstrap.SECRET_KEY,
        }

    # --- files ---

    def write_config(self, text: str) -> Path:
        """Write the site's configuration file (indentation common to all lines is removed)."""
        self.config_path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self.config_path

    def write_module(self, name: str, text: str) -> Path:
        """Write the Python module `name` (dots make folders) where jobs of the site find it."""
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        # Bytecode is out of date by second and size: a mended module can have both in common.
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
        return path

    # --- processes ---

    def start(self, *command: str, env: dict[str, str] | None = None, **options: Any) -> Any:
        """Start `python COMMAND…` in its own process group; its tree is ended with the site."""
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=options.pop("cwd", self.folder),
            env=self.env | (env or {}),
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def run(
        self, *command: str, env: dict[str, str] | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `python COMMAND…` to its end and return what it wrote."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = self.start(*command, env=env, text=True, encoding="utf-8", **pipes)
        try:
            out, err = process.communicate(input, timeout=COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            kill_tree(process_tree(process.pid))
            out, err = process.communicate()
            raise AssertionError(f"{command} did not end:\n{out}\n{err}") from error
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def manage(
        self,
        *command: str,
        check: bool = False,
        env: dict[str, str] | None = None,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python manage.py COMMAND…`; with `check` an exit code other than 0 is an error."""
        result = self.run(str(bootstrap.ROOT / "manage.py"), *command, env=env, input=input)
        if check:
            assert result.returncode == 0, (
                f"{command} gave {result.returncode}\n{result.stdout}\n{result.stderr}"
            )
        return result

    def json(self, *command: str, env: dict[str, str] | None = None) -> Any:
        """Run a command with `--format json`, which must succeed, and return its document."""
        result = self.manage(*command, "--format", "json", check=True, env=env)
        return json.loads(result.stdout)

    def python(self, text: str) -> str:
        """Run Python code in the site's Django, in a process of its own; return what it wrote."""
        code = "import django\ndjango.setup()\n" + textwrap.dedent(text)
        result = self.run("-c", code)
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout

    def migrate(self) -> None:
        """Make the site's tables, or copy those that `MIGRATED` names."""
        template = os.environ.get(MIGRATED)
        if template and self.database_url.startswith("sqlite"):
            shutil.copy(template, self.database_url.removeprefix("sqlite:///"))
        else:
            self.manage("migrate", "--verbosity", "0", check=True)

    @contextmanager
    def cluster(self, *arguments: str, wait: bool = True, **env: object) -> Iterator[Cluster]:
        """Start a real `manage.py qcluster`, wait until it works, and end its whole tree.

        Keyword arguments are environment variables, such as `WORKERS=1`. Without `wait` it is
        yielded as soon as it was started.
        """
        self._clusters += 1
        log = self.folder / f"cluster-{self._clusters}.log"
        variables = {name: str(value) for name, value in env.items()}
        with log.open("wb") as file:
            process = self.start(
                str(bootstrap.ROOT / "manage.py"),
                "qcluster",
                *arguments,
                env=variables,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        cluster = Cluster(process, log)
        try:
            if wait:
                cluster.wait_until_ready()
            yield cluster
        finally:
            self._end_cluster(cluster)

    def _end_cluster(self, cluster: Cluster) -> None:
        """Stop `cluster`; kill whatever of its tree is left then."""
        with suppress(subprocess.TimeoutExpired):
            cluster.stop()
        kill_tree(cluster.processes())
        cluster.process.wait()

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Ask the site's database, past all code of ours (processes would take longer)."""
        if self.database_url.startswith("sqlite"):
            path = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
                return connection.execute(text).fetchall()
        with psycopg.connect(psycopg_url(self.database_url), autocommit=True) as server:
            cursor = server.execute(text)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def standstill(self, cluster: Cluster) -> Iterator[None]:
        """Stop the main process of `cluster`, where it holds no lock of the database."""
        self._stop_between_writes(cluster.process)
        try:
            yield
        finally:
            cluster.process.send_signal(signal.SIGCONT)

    def _stop_between_writes(self, process: subprocess.Popen[bytes]) -> None:
        if self.database_url.startswith("sqlite"):
            path = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # so nobody else writes
                process.send_signal(signal.SIGSTOP)
            return
        open_ones = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        process.send_signal(signal.SIGSTOP)
        while self.sql(open_ones):
            process.send_signal(signal.SIGCONT)
            time.sleep(0.2)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)

    def finished(self) -> int:
        """Return how many builds are finished."""
        ((count,),) = self.sql("SELECT count(*) FROM builds_build WHERE end_time IS NOT NULL")
        return int(count)

    def wait_for(self, build_id: int, *, timeout: float = 150) -> dict[str, Any]:
        """Wait until the build is finished, and return it as `get_build` tells it.

        Raises AssertionError with what it saw last when that takes longer than `timeout` seconds.
        """
        end = time.monotonic() + timeout
        # Straight from the database: a process each time would take a core of the machine.
        while not self.sql(
            f"SELECT id FROM builds_build WHERE id = {build_id} AND end_time IS NOT NULL"
        ):
            assert time.monotonic() < end, self.json("get_build", str(build_id))
            time.sleep(0.05)
        found: dict[str, Any] = self.json("get_build", str(build_id))
        return found

    def end_processes(self) -> None:
        """Kill what still runs of everything that this site started."""
        for process in self._started:
            kill_tree(process_tree(process.pid))
            process.wait()
        self._started.clear()
