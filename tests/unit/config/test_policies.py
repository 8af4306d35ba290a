"""`timeout` and `retries` as the file says them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import policies
from jobs.config import ConfigError, load_site_sections, load_text
from jobs.policies import RetryPolicy


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86_400.0),
     ("2w", 1_209_600.0), (" 1.5 H ", 5400.0), ("30", 30.0)],
)  # fmt: skip
def test_durations(value: object, seconds: float) -> None:
    assert policies.duration(value) == seconds


@pytest.mark.parametrize(
    "value", [0, -1, True, None, "", "soon", "10 years", [], float("nan"), float("inf"), 10**12]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        policies.duration(value)


@given(st.integers(1, 10**8))
def test_a_duration_is_spoken_so_that_it_can_be_read_again(seconds: int) -> None:
    assert policies.duration(policies.spoken(seconds)) == seconds


def test_a_number_of_retries_is_a_policy() -> None:
    policy = RetryPolicy.read(3)
    assert (policy.count, policy.delay, policy.backoff) == (3, 0.0, 1.0)
    assert policy.on == ("exception", "timeout", "worker_lost", "shutdown")


def test_a_policy_in_full() -> None:
    policy = RetryPolicy.read({"count": 4, "delay": "10s", "backoff": 2, "on": ["timeout"]})
    assert policy == RetryPolicy(4, 10.0, 2.0, ("timeout",))
    assert [policy.delay_of(retry) for retry in (1, 2, 3, 4)] == [10.0, 20.0, 40.0, 80.0]


@given(st.integers(1, 100), st.floats(1, 1000), st.floats(0.001, policies.LONGEST))
def test_no_delay_is_longer_than_the_longest(retry: int, backoff: float, delay: float) -> None:
    assert 0 < RetryPolicy(100, delay, backoff).delay_of(retry) <= policies.LONGEST


def test_all_mistakes_are_told_at_once_with_job_and_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            "jobs:\n"
            "  - id: a\n    function: m:f\n    timeout: soon\n"
            "    retries: {cuont: 3, delay: -1, backoff: 0, on: [failure]}\n",
        )
    found = caught.value.problems
    (timeout, retries) = sorted(found, key=lambda problem: problem.line)
    assert (timeout.job, timeout.key, timeout.line) == ("a", "timeout", 4)
    assert "must be a number of seconds" in timeout.message
    assert (retries.job, retries.key, retries.line) == ("a", "retries", 5)
    for part in ("has no 'count'", "did you mean 'count'", "'delay' must", "'backoff' must",
                 "not of 'failure'"):  # fmt: skip
        assert part in retries.message


@pytest.mark.parametrize("value", ["3x", [], -1, 101, True, {"count": True}, {}])
def test_what_is_no_retries(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|has no"):
        RetryPolicy.read(value)


def test_the_word_on_is_read_as_it_is_written() -> None:
    """YAML takes the bare word for true."""
    (spec,) = load_text("jobs: [{id: a, function: 'm:f', retries: {count: 1, on: [timeout]}}]").jobs
    assert spec.retries == RetryPolicy(1, on=("timeout",))
    assert spec.config["retries"] == {"count": 1, "on": ["timeout"]}


def test_the_workers_section_takes_the_new_times(tmp_path) -> None:
    path = tmp_path / "jobcontrol.yaml"
    path.write_text(
        "jobs: []\nworker: {grace: 5, shutdown: 1m, timeout: 2h, heartbeat: 1, lease: 10s}\n"
    )
    worker = load_site_sections(path).worker
    assert (worker.grace, worker.shutdown, worker.timeout) == (5.0, 60.0, 7200.0)
    assert (worker.heartbeat, worker.lease) == (1.0, 10.0)
