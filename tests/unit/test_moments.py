"""Ages, times and levels as people type them."""

import argparse
import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobcontrol_site import moments


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15d", 15 * 86400), ("1h", 3600), ("2w", 14 * 86400), ("30 m", 1800), ("90", 90), ("0", 0)],
)
def test_ages(text, seconds):
    """original #34: prune_logs"""
    assert moments.age(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "d", "-1d", "1y", "15 days", "nan", "1e3", "9" * 30 + "d"])
def test_no_ages(text):
    with pytest.raises(argparse.ArgumentTypeError, match="age|too long ago"):
        moments.age(text)


def test_times_are_in_the_zone_of_the_site_unless_they_name_one(settings):
    settings.TIME_ZONE = "Europe/Rome"
    with timezone.override("Europe/Rome"):
        assert moments.moment("2026-01-31") == datetime(2026, 1, 30, 23, tzinfo=UTC)
        assert moments.moment("2026-07-01T08:30") == datetime(2026, 7, 1, 6, 30, tzinfo=UTC)
        assert moments.moment("2026-07-01T08:30Z") == datetime(2026, 7, 1, 8, 30, tzinfo=UTC)


def test_a_time_may_be_an_age():
    before = timezone.now()
    found = moments.moment("2h")
    assert before <= found + timedelta(hours=2) <= timezone.now()


@pytest.mark.parametrize(
    "text",
    [
        *("tomorrow", "2026-13-01", "2026-01-32", "", "99999999d"),
    ],
)
def test_no_times(text):
    with pytest.raises(argparse.ArgumentTypeError, match="no time|too long ago"):
        moments.moment(text)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        *(("0001-01-01", 1970), ("0001-01-01T00:00+14:00", 1970), ("1969-12-31T23:59Z", 1970)),
        *(("9999-12-31", 3000), ("9999-12-31T23:59-12:00", 3000), ("3000-01-01T00:01Z", 3000)),
    ],
)
def test_a_time_beyond_all_that_can_happen_is_the_nearest_that_can(text, year):
    assert moments.moment(text) == datetime(year, 1, 1, tzinfo=UTC)


def test_levels():
    assert moments.level("warning") == logging.WARNING
    assert moments.level("15") == 15
    with pytest.raises(argparse.ArgumentTypeError, match="LOUD"):
        moments.level("LOUD")
