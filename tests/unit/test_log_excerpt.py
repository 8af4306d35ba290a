"""What is kept of the log of a cleanup."""

import logging

import pytest

from builds.excerpts import MAX_LINE_CHARS, LogExcerpt
from builds.logs import LogEntry, entry_from_record
from jobs.redaction import Redactor


@pytest.fixture
def excerpt():
    return LogExcerpt(Redactor({"key": "hunter22"}), limit=2_000)


def entry(message, level=logging.INFO):
    return LogEntry(1_800_000_000.0, level, "x", message)


def test_a_short_log_is_kept_whole_with_its_times(excerpt, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    excerpt.add([entry("first"), entry("second", logging.ERROR)])
    assert str(excerpt) == (
        "2027-01-15 17:00:00 +0900 INFO first\n2027-01-15 17:00:00 +0900 ERROR second"
    )


def test_of_a_long_log_the_beginning_and_the_end_are_kept(excerpt):
    for number in range(1_000):
        excerpt.add([entry(f"file {number};")])
    lines = str(excerpt).splitlines()
    assert lines[0].endswith("INFO file 0;")
    assert lines[-1].endswith("INFO file 999;")
    kept = len(lines) - 1
    assert f"… [{1_000 - kept} records left out]" in lines
    assert 20 < kept < 100
    assert len(str(excerpt)) < 2_100


def test_one_record_alone_can_not_fill_it(excerpt):
    excerpt.add([entry("x" * 10_000_000), entry("y" * 10_000_000)])
    assert len(str(excerpt)) < MAX_LINE_CHARS + 100
    assert "characters cut]" in str(excerpt)


def test_logged_exceptions_are_unfolded(excerpt):
    record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "no luck", (), None)
    try:
        raise OSError("the disk says no")
    except OSError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    excerpt.add([LogEntry._make(entry_from_record(record, Redactor({})))])
    assert "ERROR no luck\nTraceback (most recent call last):" in str(excerpt)
    assert "OSError: the disk says no" in str(excerpt)


def test_secrets_and_what_no_database_holds_are_replaced(excerpt):
    excerpt.add([entry("the key is hunter22\x00")])
    assert str(excerpt).endswith("the key is •••\ufffd")
