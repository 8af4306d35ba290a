"""Helpers for tests that run builds: in this process, or through real workers."""

from __future__ import annotations

import textwrap
from typing import Any

from builds import runner, services
from builds.models import Build
from jobs import config, registry
from jobs.models import Job


def use_config(text: str) -> None:
    """Make `text` this process's configuration and sync it (functions are not checked)."""
    configuration = config.load_text(textwrap.dedent(text))
    registry.use(configuration)
    registry.sync(configuration, check_functions=False)


def build(job_id: str, **options: Any) -> Build:
    """Build a job in this process and return the build as it ended."""
    job = Job.objects.get(pk=job_id)
    made = services.create_build(job=job, trigger=Build.Trigger.PYTHON, **options)
    return runner.run_here(made, arm=True)


def build_function(function: str, *args: Any, **kwargs: Any) -> Build:
    """Declare a job that calls `function`, and build it in this process."""
    spec = {"id": "job", "function": function, "args": list(args), "kwargs": kwargs}
    configuration = config.load_object({"jobs": [spec]})
    registry.use(configuration)
    registry.sync(configuration, check_functions=False)
    return build("job")


def messages(build: Build) -> list[str]:
    """Return the build's log as text."""
    return [row.message for row in build.log_messages.order_by("id")]
