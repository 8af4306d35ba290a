"""`retention` of the file and of a job, as they are written."""

from __future__ import annotations

import pytest

from jobs.config import ConfigError, load_text
from jobs.retention import BuildLimits, Retention

DAY = 86_400.0
JOB = "jobs: [{id: a, function: 'm:f'%s}]\n"


def section(text: str) -> Retention:
    configuration = load_text(JOB % "" + text)
    assert configuration.warnings == ()
    return configuration.site.retention


@pytest.mark.parametrize("text", ["", "retention:\n", "retention: {}\n", "retention: {logs: }\n"])
def test_the_defaults_are_the_originals(text: str) -> None:
    found = section(text)
    assert {name: age / DAY for name, age in found.logs.items()} == {
        "DEBUG": 15, "INFO": 30, "WARNING": 90, "ERROR": 180, "CRITICAL": 180, "all": 365,
    }  # fmt: skip
    assert found.builds == BuildLimits(None, None)
    assert found.builds.is_empty
    assert found.log_rows == 100_000


def test_what_is_given_replaces_its_default_only() -> None:
    found = section(
        "retention:\n  logs: {DEBUG: 1d, all: 2w}\n  builds: {count: 7, age: 90d}\n  log_rows: 0\n"
    )
    assert (found.logs["DEBUG"], found.logs["INFO"], found.logs["all"]) == (DAY, 30 * DAY, 14 * DAY)
    assert (found.builds, found.log_rows) == (BuildLimits(7, 90 * DAY), 0)


def test_all_mistakes_are_told_at_once_with_key_and_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            JOB
            % ", retention: {builds: {cuont: 3}, logs: {}, log_rows: -1}"
            + "retention:\n  logs:\n    DEBG: 1d\n    INFO: 400d\n    ERROR: soon\n"
            "  builds:\n    count: 0\n    age: -1\n  log_rows: many\n  more: 1\n"
        )
    found = {(problem.key, problem.line): problem.message for problem in caught.value.problems}
    assert list(found) == [
        ("retention", 1),
        ("retention.logs.DEBG", 4),
        ("retention.logs.INFO", 5),
        ("retention.logs.ERROR", 6),
        ("retention.builds.count", 8),
        ("retention.builds.age", 9),
        ("retention.log_rows", 10),
        ("retention.more", 11),
    ]
    for part in ("builds.cuont is no part", "did you mean 'count'", "logs is no part", "log_rows"):
        assert part in found["retention", 1]
    assert "did you mean 'DEBUG'" in found["retention.logs.DEBG", 4]
    assert "longer than 'all' (365d)" in found["retention.logs.INFO", 5]
    assert "from 1 to" in found["retention.builds.count", 8]


@pytest.mark.parametrize(
    "text", ["3", "[]", "{logs: 3}", "{builds: [1]}", "{builds: {count: true}}", "{log_rows: 1.5}"]
)
def test_what_is_no_retention(text: str) -> None:
    with pytest.raises(ConfigError, match="must be"):
        section(f"retention: {text}\n")


def test_a_job_says_its_own_and_takes_limits_away() -> None:
    text = "retention: {builds: {count: 50, age: 90d}, log_rows: 10}\n"
    site = section(text)
    for block, expected in (
        ("", (50, 90 * DAY, 10)),
        (", retention: {builds: {count: 5}}", (5, 90 * DAY, 10)),
        (", retention: {builds: {age: }, log_rows: 0}", (50, None, 0)),
    ):
        configuration = load_text(JOB % block + text)
        assert configuration.warnings == ()
        found = site.of_job(configuration.jobs[0].config)
        assert (found.builds.count, found.builds.age, found.log_rows) == expected
