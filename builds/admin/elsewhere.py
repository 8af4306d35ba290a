"""What starts a build from a shell or a program, to be copied from its page or that of its job."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from builds.models import BuildDependency, BuildPayload
from jobs.models import Job

MAX_CHARS = 4_000  # of one command; arguments may be of any size


@dataclass(frozen=True)
class Commands:
    """A line for a shell, and a request to the API; "" where one can't say it."""

    shell: str
    request: str


def start_of_job(request: HttpRequest, job: Job) -> Commands:
    """Return what starts a plain build of a job."""
    return _commands(request, job, {}, {})


def start_of_build(
    request: HttpRequest, job: Job, inputs: Iterable[BuildDependency], payload: BuildPayload | None
) -> Commands:
    """Return what starts a build with the inputs that are left and the arguments of another one."""
    used = {one.job_id: one.dep_build_number for one in inputs if one.dep_build_id}
    own = payload.config if payload else job.config
    names = ("args", "kwargs")
    given = {name: own.get(name) for name in names if own.get(name) != job.config.get(name)}
    empty: dict[str, Any] = {"args": [], "kwargs": {}}
    return _commands(request, job, used, {name: given[name] or empty[name] for name in given})


def _commands(
    request: HttpRequest, job: Job, used: dict[str, int], arguments: dict[str, Any]
) -> Commands:
    words = ["jobcontrol-cli", "build-job", "--queue"]
    words += ["--arm"] if job.protected else []
    words += [word for name, number in used.items() for word in ("--use", f"{name}={number}")]
    words += ["--", job.pk] if job.pk.startswith("-") else [job.pk]
    # The command line has no way to give arguments.
    shell = "" if arguments else shlex.join(words)
    body: dict[str, Any] = {**arguments}
    if used:
        body["dependency_builds"] = used
    if job.protected:
        body["arm"] = True
    # Not build_absolute_uri: it would resolve the dots of an id.
    path = reverse("api:run_job", args=[job.pk])
    address = f"{request.scheme}://{request.get_host()}{path}"
    curl = f'curl -X POST {shlex.quote(address)} -H "Authorization: Bearer $TOKEN"'
    if body:
        text = json.dumps(body, ensure_ascii=False)
        curl += f" -H 'Content-Type: application/json' -d {shlex.quote(text)}"
    return Commands(_short(shell), _short(curl))


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARS else ""
