"""The registry: what the configuration file says, mirrored in the database.

`sync` is the only writer of `Job`, `JobDependency` and `ConfigRevision`. `ensure_current` keeps a
process up to date with its own file for one `stat` a check.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import Error as AnyDatabaseError

from jobs import checks, mirror
from jobs.checks import InspectionFailed
from jobs.config import ConfigError, Configuration, Problem, fingerprint, load_file
from jobs.mirror import Changes
from jobs.redaction import Redactor
from jobs.secrets import redactor_of

logger = logging.getLogger(__name__)

# A request that notices a new file waits for the checks no longer than this (seconds); what was
# not reached stays unmarked until the next `sync_jobs` or `migrate`.
REQUEST_CHECK_SECONDS = 10.0
# A file written this shortly before it was read may have been written again in the same tick of
# the file system's clock: it is read once more.
_TICK_NANOSECONDS = 50_000_000

Fingerprint = tuple[object, ...]


@dataclass(frozen=True)
class SyncReport:
    """What a sync changed. Nothing at all when the registry stood as the file does."""

    changes: Changes
    revision: int | None
    problems: dict[str, str]
    warnings: tuple[Problem, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was added, changed, retired or restored."""
        return self.changes.is_empty

    def __str__(self) -> str:
        counts = self.changes.to_json().items()
        parts = [f"{len(ids)} {name}" for name, ids in counts if ids] or ["nothing changed"]
        if self.problems:
            parts.append(f"{len(self.problems)} with a problem")
        return ", ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Return the report for `sync_jobs --format json`."""
        return {
            **self.changes.to_json(),
            "revision": self.revision,
            "problems": self.problems,
            "warnings": [str(warning) for warning in self.warnings],
        }


@dataclass
class _Process:
    """What this process knows of its configuration. Written under `lock` only."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    configuration: Configuration | None = None
    error: ConfigError | None = None
    redactor: Redactor | None = None
    # The file as it stood when it was last read; None: never read, or to be read again.
    seen: Fingerprint | None = None
    is_synced: bool = False
    has_checked: bool = False
    # The configuration was handed over by `use`, or the file was: it is not looked at again.
    is_pinned: bool = False


_process = _Process()


def _renew_lock() -> None:
    _process.lock = threading.RLock()


# A child forked while another thread held the lock would wait for it for ever.
os.register_at_fork(after_in_child=_renew_lock)


def sync(configuration: Configuration | None = None, *, check_functions: bool = True) -> SyncReport:
    """Make the registry say what the configuration says; return what that changed.

    Without `configuration` the file of the settings is read. With `check_functions` every job's
    function is looked at anew, in another process, and `Job.problem` and `Job.docs` are set.
    Raises ConfigError, and then nothing is written.
    """
    if configuration is None:
        configuration = _load()
    redactor = redactor_of(configuration)
    written = mirror.write(configuration, redactor)
    problems = dict(written.problems)
    if check_functions:
        problems = _check(configuration, redactor, fresh=True)
    _remember_synced(configuration)
    return SyncReport(written.changes, written.revision, problems, configuration.warnings)


def _check(
    configuration: Configuration,
    redactor: Redactor,
    *,
    only: Iterable[str] | None = None,
    fresh: bool = False,
) -> dict[str, str]:
    """Check functions (of all jobs, or `only` these) and record what was found."""
    wanted = None if only is None else set(only)
    specs = [spec for spec in configuration.jobs if wanted is None or spec.id in wanted]
    if not specs:
        return {}
    python_path = configuration.site.python_path
    found = checks.check_functions(
        specs,
        python_path=python_path,
        fresh=fresh,
        total_seconds=checks.TOTAL_SECONDS if fresh else REQUEST_CHECK_SECONDS,
    )
    unreached = [spec.id for spec in specs if spec.id not in found]
    return mirror.record_checks(found, redactor, unreached=unreached)


def ensure_current(*, recheck_problems: bool = False) -> None:
    """Follow this process's configuration file: one `stat` per file when nothing changed.

    The first call in a process reads the file and syncs; later ones do so only when the file (or
    an include) changed. Never raises: what is wrong with the file is in `problems()`, and a
    database that can't be written is logged and tried again at the next call. Safe from threads;
    while one thread reads a changed file, the others go on with what was known.

    Functions are looked at only for jobs that this changed or that nobody looked at before. With
    `recheck_problems` (for processes that live long) the first call looks again at marked jobs:
    the modules may have been mended.
    """
    if not _process.lock.acquire(blocking=_process.configuration is None):
        return
    try:
        if not _process.is_pinned and _process.seen != _fingerprint():
            _reload()
        if _process.configuration is not None and not _process.is_synced:
            _sync_changes(_process.configuration, recheck_problems=recheck_problems)
    finally:
        _process.lock.release()


def _sync_changes(configuration: Configuration, *, recheck_problems: bool) -> None:
    """Sync without looking again at functions that are known to be good."""
    redactor = redactor_of(configuration)
    try:
        written = mirror.write(configuration, redactor)
        wanted = set(written.changes.written)
        if not _process.has_checked:
            wanted |= set(written.unchecked)
            wanted |= set(written.problems) if recheck_problems else set()
        _process.is_synced = _process.has_checked = True
        _check(configuration, redactor, only=wanted)
    except AnyDatabaseError as error:
        # The next call begins anew, with the jobs whose functions nobody looked at yet.
        _process.is_synced = _process.has_checked = False
        logger.warning("the jobs can't be synced now, the next request tries again: %s", error)
    except InspectionFailed as error:
        logger.warning("%s", error)


def _paths() -> list[str]:
    """Return the files whose change means a new configuration."""
    paths = [str(settings.JOBCONTROL_CONFIG)]
    if _process.configuration is not None:
        paths += [source.path for source in _process.configuration.sources]
    if _process.error is not None:
        paths += _process.error.paths
    return list(dict.fromkeys(paths))


def _fingerprint() -> Fingerprint:
    return tuple(fingerprint(_paths()))


def _reload() -> None:
    """Read the file; keep the last good configuration when it is wrong."""
    before = _process.configuration
    try:
        now = _load()
    except ConfigError as error:
        logger.warning("the configuration file is wrong, the last good one stays:\n%s", error)
        return
    if before is None or (now.hash, now.sources) != (before.hash, before.sources):
        _process.is_synced = False


def _load() -> Configuration:
    """Read the file of the settings and make it this process's configuration."""
    with _process.lock:
        started, before = time.time_ns(), fingerprint([str(settings.JOBCONTROL_CONFIG)])
        try:
            configuration = load_file(str(settings.JOBCONTROL_CONFIG))
        except ConfigError as error:
            _process.error = error
            _process.seen = _settled_fingerprint(started, before)
            raise
        _adopt(configuration)
        _process.is_pinned = False
        _process.seen = _settled_fingerprint(started, before)
        return configuration


def _settled_fingerprint(started: int, before: Fingerprint) -> Fingerprint | None:
    """Return the fingerprint to compare with later; None when the file may have changed since."""
    seen = _fingerprint()
    if tuple(seen[:1]) != tuple(before):
        return None  # replaced while it was read
    times = [entry[1] for entry in seen if isinstance(entry, tuple) and isinstance(entry[1], int)]
    now = time.time_ns()
    is_fresh = any(started - _TICK_NANOSECONDS <= changed <= now for changed in times)
    return None if is_fresh else seen


def _adopt(configuration: Configuration) -> None:
    _process.configuration = configuration
    _process.error = None
    _process.redactor = redactor_of(configuration)
    extend_sys_path(configuration.site.python_path)


def _remember_synced(configuration: Configuration) -> None:
    with _process.lock:
        if _process.configuration is configuration:
            _process.is_synced = _process.has_checked = True


def use(configuration: Configuration) -> None:
    """Make `configuration` this process's own; its file, if any, is not followed any more."""
    with _process.lock:
        _adopt(configuration)
        _process.is_pinned = True
        _process.is_synced = False


def forget() -> None:
    """Forget what this process knows: the next use reads the file of the settings again."""
    with _process.lock:
        _process.configuration = _process.error = _process.redactor = _process.seen = None
        _process.is_synced = _process.has_checked = _process.is_pinned = False


def problems() -> tuple[Problem, ...]:
    """Return what is wrong with the file, as this process last saw it; () when it is good."""
    error = _process.error
    return error.problems if error is not None else ()


def configuration() -> Configuration:
    """Return the last good configuration of this process; read the file if it never was read.

    Raises ConfigError when there never was a good one.
    """
    with _process.lock:
        if _process.configuration is not None:
            return _process.configuration
        if _process.error is not None and _process.seen == _fingerprint():
            raise _process.error
        return _load()


def redactor() -> Redactor:
    """Return what masks the secrets of this process: the file's and those of the settings."""
    with _process.lock:
        if _process.redactor is None:
            try:
                configuration()
            except ConfigError:
                # `problems()` tells what is wrong with the file; the settings' secrets remain.
                return redactor_of(None)
        if _process.redactor is None:
            _process.redactor = redactor_of(_process.configuration)
        return _process.redactor


def extend_sys_path(folders: Sequence[str]) -> None:
    """Append the folders of `python_path` that are not on sys.path yet."""
    for folder in folders:
        if folder not in sys.path:
            sys.path.append(folder)
