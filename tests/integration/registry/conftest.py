"""A process that knows nothing yet, with a configuration file of its own."""

import os
import textwrap

import pytest

from jobs import checks, registry
from jobs.models import ConfigRevision, Job, JobDependency, registry_writes


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Each test begins as a new process would: no configuration loaded, nothing cached."""
    monkeypatch.setattr(checks, "_known", {})
    registry.forget()
    yield
    registry.forget()


@pytest.fixture(autouse=True)
def empty_registry(request):
    """`migrate` synced the suite's own file into the test database: begin with nothing."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db" if is_transactional(request) else "db")
        with registry_writes():
            for model in (JobDependency, Job, ConfigRevision):
                model.objects.all().delete()


def is_transactional(request):
    return any(
        marker.kwargs.get("transaction") for marker in request.node.iter_markers("django_db")
    )


class ConfigFile:
    """The configuration file of a test; each write gives it a new modification time."""

    def __init__(self, path):
        self.path = path
        self.writes = 0

    def write(self, text, name=None):
        path = self.path.parent / name if name else self.path
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        self.settle(path)
        return path

    def settle(self, path):
        """Give the file a time of its own, well in the past."""
        self.writes += 1
        moment = 1_600_000_000 + self.writes
        os.utime(path, (moment, moment))


@pytest.fixture
def config_file(tmp_path, settings):
    """The file that this process follows."""
    path = tmp_path / "jobcontrol.yaml"
    settings.JOBCONTROL_CONFIG = str(path)
    made = ConfigFile(path)
    made.write("jobs: []\n")
    return made


@pytest.fixture
def no_checks(monkeypatch):
    """No functions are looked at: for tests of the rows alone. Gives the jobs asked for."""
    asked = []

    def check_functions(specs, **options):
        asked.append([spec.id for spec in specs])
        return {}

    monkeypatch.setattr(checks, "check_functions", check_functions)
    return asked
