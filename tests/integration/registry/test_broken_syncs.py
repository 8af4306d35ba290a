"""Each broken file: one command, exit code 2, a clear text, and the registry as it was."""

from __future__ import annotations

import pytest

from jobs import registry
from jobs.models import ConfigRevision, Job, JobDependency
from tests.support.commands import run
from tests.unit.config.test_broken_files import BROKEN

pytestmark = pytest.mark.django_db

GOOD = "jobs: [{id: a, function: 'm:f'}, {id: b, function: 'm:f', args: [!retval a]}]"


def rows():
    return [list(model.objects.order_by("pk").values()) for model in (Job, JobDependency)]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_and_leaves_the_registry(name, config_file, no_checks):
    """original #13, #14, #15, #20"""
    config_file.write(GOOD)
    registry.sync()
    before = rows()
    content, expected = BROKEN[name]
    config_file.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    config_file.settle(config_file.path)
    result = run("sync_jobs")
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    for rule, line, part in expected:
        told = [one for one in result.err.splitlines() if f"[{rule}]" in one and part in one]
        assert any(line is None or f"line {line}" in one for one in told), result.err
    assert rows() == before
    assert ConfigRevision.objects.count() == 1
    assert registry.problems()
    assert [job.id for job in registry.configuration().jobs] == ["a", "b"]
