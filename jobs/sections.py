"""The parts of the configuration file that are not jobs: storage, web, workers, secrets, paths."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import retention
from jobs.parsing import Document
from jobs.policies import duration
from jobs.problems import Finding, Problem, describe, nearest, quoted
from jobs.redaction import Redactor, url_passwords
from jobs.tags import references_in

TOP_LEVEL_KEYS = ("jobs", "secret", "storage", "webapp", "worker", "celery", "retention",
                  "python_path")  # fmt: skip
_REDIS = ("redis://", "rediss://", "unix://", "redis+socket://")


@dataclass(frozen=True, slots=True)
class WorkerSection:
    """`worker:`; seconds for the times, None where the file says nothing."""

    processes: int | None = None
    heartbeat: float | None = None
    lease: float | None = None
    grace: float | None = None
    shutdown: float | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class SiteSections:
    """Everything in the file but the jobs; wrong values are left out and stand in `problems`."""

    storage: str | None = None
    webapp: Mapping[str, Any] = field(default_factory=dict)
    worker: WorkerSection = WorkerSection()
    celery: Mapping[str, Any] = field(default_factory=dict)
    retention: retention.Retention = field(default_factory=retention.Retention)
    python_path: tuple[str, ...] = ()
    secrets: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def redis_url(self) -> str | None:
        """The broker that an old file names, when it is Redis."""
        url = self.celery.get("BROKER_URL")
        return url if isinstance(url, str) and url.startswith(_REDIS) else None


class _Wrong(Exception):  # noqa: N818 - from a check to its caller
    pass


def _need(wanted: str, value: object) -> _Wrong:
    return _Wrong(f"must be {wanted}, not {describe(value)}")


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise _need("text", value)


def _port(value: object) -> int:
    if type(value) is not int:
        raise _need("a number", value)
    if not 0 <= value <= 65535:
        raise _Wrong("must be a port from 0 to 65535")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _need("true or false", value)


def _hosts(value: object) -> list[str]:
    if isinstance(value, str):
        return [host.strip() for host in value.split(",") if host.strip()]
    if isinstance(value, list | tuple) and all(isinstance(host, str) for host in value):
        return list(value)
    raise _Wrong("must be a list of host names")


def _time_zone(value: object) -> str:
    name = _string(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _Wrong(f"{quoted(name)} is not a time zone such as 'Europe/Rome'") from error
    return name


def _secret_key(value: object) -> str:
    if not _string(value):
        raise _Wrong("must not be empty")
    return _string(value)


def _count(value: object) -> int:
    if type(value) is not int:
        raise _need("a whole number", value)
    if value < 1:
        raise _Wrong("must be at least 1")
    return value


def _seconds(value: object) -> float:
    try:
        return duration(value)
    except ValueError as error:
        raise _Wrong(str(error)) from None


_Checks = Mapping[str, Callable[[object], Any]]
_WEBAPP: _Checks = {
    "HOST": _string,
    "PORT": _port,
    "DEBUG": _flag,
    "SECRET_KEY": _secret_key,
    "ALLOWED_HOSTS": _hosts,
    "TIME_ZONE": _time_zone,
}
_WORKER: _Checks = {
    "processes": _count,
    "heartbeat": _seconds,
    "lease": _seconds,
    "grace": _seconds,
    "shutdown": _seconds,
    "timeout": _seconds,
}
_CELERY: _Checks = {"BROKER_URL": _string}


class SectionReader:
    """Reads the sections of one document; collects findings as it goes."""

    def __init__(self, document: Document, base: str | Path | None) -> None:
        self.document = document
        self.base = Path(base).absolute() if base is not None else None
        self.top: dict[Any, Any] = document.value if isinstance(document.value, dict) else {}
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []

    def read(self) -> SiteSections:
        """Return the sections; what is wrong is left out and stands in the reader's findings."""
        self._check_top()
        secrets = self._secrets()
        celery = self._section("celery", _CELERY)
        broker = celery.get("BROKER_URL", "redis://")
        if not broker.startswith(_REDIS):
            self._warn("broker", "only Redis can be the broker; this one is ignored",
                       "celery", "BROKER_URL")  # fmt: skip
        return SiteSections(
            storage=self._storage(),
            webapp=self._section("webapp", _WEBAPP),
            worker=self._worker(),
            celery=celery,
            retention=self._retention(),
            python_path=self._python_path(),
            secrets=secrets,
        )

    def _check_top(self) -> None:
        value = self.document.value
        if not isinstance(value, dict):
            hint = "; put 'jobs:' above the list" if isinstance(value, list) else ""
            message = f"the file must be a mapping with the key 'jobs', not {describe(value)}{hint}"
            self.problems.append(Finding("top-level", message, self.document.line(value)))
        for key in self.top:
            if key not in TOP_LEVEL_KEYS:
                hint = nearest(key, TOP_LEVEL_KEYS)
                self._warn("unknown-section", f"unknown key{hint}", key)

    def _find(self, rule: str, message: str, *path: object) -> None:
        self.problems.append(self._finding(rule, message, path))

    def _warn(self, rule: str, message: str, *path: object) -> None:
        self.warnings.append(self._finding(rule, message, path))

    def _finding(self, rule: str, message: str, path: tuple[object, ...]) -> Finding:
        key = ".".join(str(step) for step in path)
        return Finding(rule, message, self.document.line(self.top, *path), key)

    def _section(self, name: str, checks: _Checks) -> dict[str, Any]:
        section = self.top.get(name)
        if section is None:
            return {}
        if not isinstance(section, dict):
            self._find("type", f"must be a mapping, not {describe(section)}", name)
            return {}
        found: dict[str, Any] = {}
        for key, value in section.items():
            check = checks.get(key)
            if check is None:
                self._warn("unknown-key", f"not used here{nearest(key, checks)}", name, key)
            elif value is not None:
                try:
                    found[key] = check(value)
                except _Wrong as error:
                    self._find("type", str(error), name, key)
        return found

    def _worker(self) -> WorkerSection:
        found = self._section("worker", _WORKER)
        heartbeat, lease = found.get("heartbeat"), found.get("lease")
        if heartbeat is not None and lease is not None and lease < 2 * heartbeat:
            message = "must be at least twice the heartbeat, or living workers count as dead"
            self._find("lease", message, "worker", "lease")
            del found["heartbeat"], found["lease"]
        return WorkerSection(**found)

    def _retention(self) -> retention.Retention:
        given = self.top.get("retention")
        if given is None:
            return retention.Retention()
        found, mistakes = retention.read(given)
        for place, text in mistakes:
            self._find("retention", text, "retention", *place)
        return found

    def _storage(self) -> str | None:
        storage = self.top.get("storage")
        if storage is None:
            return None
        if not isinstance(storage, str):
            self._find("type", f"must be a database URL, not {describe(storage)}", "storage")
        elif not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", storage):
            message = "must be a database URL such as 'postgresql://user@host/name'"
            self._find("storage", message, "storage")
        else:
            return storage
        return None

    def _python_path(self) -> tuple[str, ...]:
        given = self.top.get("python_path")
        if given is None:
            return (str(self.base),) if self.base is not None else ()
        entries = [given] if isinstance(given, str) else given
        if not isinstance(entries, list | tuple):
            message = f"must be a folder or a list of folders, not {describe(given)}"
            self._find("type", message, "python_path")
            return ()
        found = []
        for index, entry in enumerate(entries):
            if isinstance(entry, str) and entry and "\0" not in entry:
                path = Path(entry).expanduser()
                found.append(str(self.base / path if self.base is not None else path.absolute()))
            else:
                message = f"item {index + 1}: must be a folder, not {describe(entry)}"
                self._find("type", message, "python_path", index)
        return tuple(found)

    def _secrets(self) -> dict[str, object]:
        given = self.top.get("secret")
        if given is None:
            return {}
        if not isinstance(given, dict):
            message = f"must be a mapping of names to values, not {describe(given)}"
            self._find("type", message, "secret")
            return {}
        for key, value in given.items():
            if references_in(value):
                message = "a secret must be a value of its own, not !retval or !secret"
                self._find("secret", message, "secret", key)
        secrets = {str(key): value for key, value in given.items()}
        for name in Redactor(secrets).too_short:
            message = (
                f"the secret {quoted(name)} is shorter than four characters, so it is not masked "
                "in texts"
            )
            key = name.partition(".")[0]
            self._warn("short-secret", message, "secret", key)
        return secrets


def all_secrets(sections: SiteSections) -> dict[str, object]:
    """Return every value of the sections that must not be shown, secrets under their own names."""
    hidden: dict[str, object] = {}
    urls = {"storage": sections.storage, "celery.BROKER_URL": sections.celery.get("BROKER_URL")}
    for name, url in urls.items():
        for number, password in enumerate(url_passwords(url) if url else []):
            hidden[f"{name}#{number}"] = password
    key = sections.webapp.get("SECRET_KEY")
    if key:
        hidden["webapp.SECRET_KEY"] = key
    return {**hidden, **sections.secrets}
