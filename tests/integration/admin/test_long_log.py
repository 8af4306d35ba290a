"""A log of very many lines: searched in bounded steps, by level at once, and gone to by time."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builds.models import Build, LogMessage
from builds.pages import log as log_pages
from builds.pages import log_parts
from builds.pages.log_question import LogQuestion, read_moment
from tests.support.jobs import build_function
from tests.support.pages import text

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 3, 28, 22, 0, 0, tzinfo=UTC)


def log_of(build, query=""):
    return reverse("admin:builds_build_log", args=[build.pk]) + query


def shown(response):
    found = re.sub("</?mark>", "", response.content.decode())
    return [int(n) for n in re.findall(r"line (\d+) here", found)]


def link(response, label):
    found = re.search(rf'<a href="([^"]*)">{label}</a>', response.content.decode())
    return found and found[1].replace("&amp;", "&")


def write(build, levels, *, seconds=1.0, others=0):
    """Lines of these levels, `seconds` apart; `others` of another build after each."""
    rows = []
    for number, level in enumerate(levels):
        created = START + timedelta(seconds=seconds * number)
        message = f"line {number} here"
        rows.append(LogMessage(build=build, created=created, level=level, message=message))
        rows += [LogMessage(build=others, created=START, level=50, message="x")] if others else []
    LogMessage.objects.bulk_create(rows, batch_size=2_000)


@pytest.fixture
def made():
    build = build_function("tests.support.odd_jobs:value")
    LogMessage.objects.all().delete()
    Build.objects.filter(pk=build.pk).update(start_time=START)
    return Build.objects.get(pk=build.pk)


@pytest.fixture
def small_steps(monkeypatch):
    """A page has 5 lines and looks at 20."""
    monkeypatch.setattr(log_parts, "LINES", 5)
    monkeypatch.setattr(log_parts, "LOOKED_AT", 20)
    monkeypatch.setattr(log_parts, "LOOKED_BACK", 4)


# --- in bounded steps -----------------------------------------------------------------------------


def test_a_search_stops_after_so_many_lines_and_goes_on_by_a_link(viewer, made, small_steps):
    write(made, [20] * 100)
    page = viewer.get(log_of(made, "?q=line 5"))
    assert shown(page) == [5]
    assert "20 lines were looked at, up to" in text(page)
    seen = []
    while page is not None:
        seen += shown(page)
        onward = link(page, "Search on") or link(page, "Later ›")
        page = viewer.get(log_of(made, onward)) if onward else None
    assert seen == [5, *range(50, 60)]


def test_a_search_from_the_end_goes_on_towards_the_start(viewer, made, small_steps):
    write(made, [20] * 100)
    page = viewer.get(log_of(made, "?q=line 5&tail=1"))
    assert shown(page) == []
    assert "20 lines were looked at, back to" in text(page)
    assert "none of them matches" in text(page)
    seen = []
    while page is not None:
        seen = shown(page) + seen
        onward = link(page, "Search on, earlier") or link(page, "‹ Earlier")
        page = viewer.get(log_of(made, onward)) if onward else None
    assert seen == [5, *range(50, 60)]


def test_a_search_reads_no_more_lines_than_it_says(viewer, made, small_steps):
    """The statements themselves are bounded by the number of a line."""
    write(made, [20] * 100)
    numbers = list(LogMessage.objects.order_by("pk").values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as queries:
        viewer.get(log_of(made, "?q=nothing"))
    searches = [query["sql"] for query in queries if "nothing" in query["sql"]]
    pages = [sql for sql in searches if "COUNT" not in sql]
    assert len(pages) == 1
    assert f'"id" < {numbers[20]}' in pages[0]
    assert f'"id" >= {numbers[0]}' in pages[0]
    assert all("LIMIT" in sql for sql in searches)


def test_whatever_has_no_filter_is_not_looked_for(viewer, made, small_steps):
    write(made, [20] * 100)
    page = viewer.get(log_of(made, "?from=1"))
    assert shown(page) == [0, 1, 2, 3, 4]
    assert "looked at" not in text(page)


def test_earlier_lines_are_offered_when_there_may_be_some(viewer, made, small_steps):
    write(made, [20] * 30)
    numbers = list(LogMessage.objects.order_by("pk").values_list("pk", flat=True))
    assert link(viewer.get(log_of(made, f"?q=here&from={numbers[0]}")), "‹ Earlier") is None
    assert link(viewer.get(log_of(made, f"?q=line 2&from={numbers[2]}")), "‹ Earlier") is None
    # Five lines back: more than are looked at for that.
    assert link(viewer.get(log_of(made, f"?q=line 2&from={numbers[5]}")), "‹ Earlier")


def test_errors_are_found_at_once_however_many_other_lines_there_are(viewer, made, small_steps):
    write(made, [20] * 60 + [40] + [10] * 60 + [30, 50])
    page = viewer.get(log_of(made, "?level=ERROR"))
    assert shown(page) == [60, 122]
    assert "looked at" not in text(page)
    page = viewer.get(log_of(made, "?level=INFO&tail=1"))
    assert shown(page) == [121, 122]
    assert "looked at" in text(page)


@pytest.mark.parametrize("level", ["WARNING", "ERROR", "CRITICAL"])
def test_the_index_of_what_is_rare_is_used(made, level):
    other = build_function("tests.support.odd_jobs:value")
    write(made, [20] * 3_000 + [50] + [20] * 3_000, others=other)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE builds_logmessage")
    asked = LogQuestion.read({"level": level})
    found = log_parts.lines_of(made).filter(asked.walked(), asked.matches())
    assert "builds_log_warnings" in found[:201].explain()
    assert "builds_log_warnings" in found.reverse()[:201].explain()


def test_the_lines_of_older_builds_are_not_gone_through(made):
    """PostgreSQL takes the lines of a build for evenly spread over those of all."""
    other = build_function("tests.support.odd_jobs:value")
    write(other, [20] * 3_000)
    write(made, [20] * 6_000)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE builds_logmessage")
    lines = log_parts.lines_of(made)
    for found in (lines, lines.reverse(), lines.filter(pk__gt=lines[0].pk)):
        for part in (found[:201], found[2_000:2_001]):
            plan = part.explain()
            assert "builds_log_of_build" in plan, plan
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan


def test_the_counts_of_what_is_rare_reach_the_end(viewer, made, monkeypatch):
    monkeypatch.setattr(log_pages, "COUNTED_LINES", 50)
    write(made, [20] * 60 + [40] + [10] * 60 + [30, 50])
    found = text(viewer.get(log_of(made)))
    assert "All 50+ DEBUG and up 50+ INFO and up 50+ WARNING and up 3 ERROR and up 2" in found
    assert "CRITICAL 1 " in found
    assert "50 lines were counted" in found
    found = text(viewer.get(log_of(made, "?q=line 1")))
    assert "All 11+" in found
    assert "WARNING and up 2 " in found


# --- to a time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("near", "probes"), [(1, 2), (3, 3), (10, 5), (1_000, 32)])
def test_the_line_at_a_time_is_found(made, monkeypatch, near, probes):
    monkeypatch.setattr(log_parts, "NEAR", near)
    monkeypatch.setattr(log_parts, "PROBES", probes)
    other = build_function("tests.support.odd_jobs:value")
    LogMessage.objects.all().delete()
    write(made, [20] * 40, seconds=2, others=other)
    write(other, [20] * 10)
    lines = list(made.log_messages.order_by("pk"))
    for number, line in enumerate(lines):
        assert log_parts.line_at(made, line.created) == line.pk
        before = line.created - timedelta(milliseconds=1)
        assert log_parts.line_at(made, before) == line.pk
        after = line.created + timedelta(milliseconds=1)
        following = lines[number + 1].pk if number + 1 < len(lines) else None
        assert log_parts.line_at(made, after) == following


def test_in_a_log_of_nothing_no_time_is_found(made):
    assert log_parts.line_at(made, timezone.now()) is None


def test_a_time_is_found_in_few_queries(made, monkeypatch):
    monkeypatch.setattr(log_parts, "NEAR", 10)
    write(made, [20] * 5)
    last = LogMessage.objects.order_by("-pk").first()
    # As if a thousand million lines of others lay between.
    LogMessage.objects.filter(pk=last.pk).update(id=last.pk + 10**9)
    with CaptureQueriesContext(connection) as queries:
        assert log_parts.line_at(made, last.created) == last.pk + 10**9
    assert len(queries) <= 10


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seconds=st.lists(st.integers(0, 30), min_size=1, max_size=30), wanted=st.integers(-1, 31))
def test_the_first_line_at_a_time_is_found_in_any_log(made, monkeypatch, seconds, wanted):
    monkeypatch.setattr(log_parts, "NEAR", 2)
    monkeypatch.setattr(log_parts, "PROBES", 2)
    LogMessage.objects.all().delete()
    LogMessage.objects.bulk_create(
        LogMessage(build=made, created=START + timedelta(seconds=n), level=20, message="x")
        for n in sorted(seconds)
    )
    moment = START + timedelta(seconds=wanted)
    lines = made.log_messages.filter(created__gte=moment).order_by("pk")
    assert log_parts.line_at(made, moment) == lines.values_list("pk", flat=True).first()


@pytest.mark.parametrize(
    ("written", "zone", "moment"),
    [
        ("2026-03-28 22:00:10", "", "22:00:10"),
        ("2026-03-28T22:00:10.5Z", "Asia/Tokyo", "22:00:10.500"),
        ("2026-03-28 22:00:10,250", "", "22:00:10.250"),
        ("2026-03-28 23:00:10", "Europe/Berlin", "22:00:10"),
        ("2026-03-29 00:00:10+02:00", "", "22:00:10"),
        ("22:00", "", "22:00:00"),
        ("22:00:10", "", "22:00:10"),
        ("23:00:10", "Europe/Berlin", "22:00:10"),
        ("23:00:10", "No/Where", "23:00:10"),
        ("23:00:10", "../../etc/passwd", "23:00:10"),
    ],
)
def test_a_time_is_read_as_people_write_it(made, settings, written, zone, moment):
    settings.TIME_ZONE = "UTC"
    wanted = datetime.fromisoformat(f"2026-03-28 {moment}+00:00")
    assert read_moment(written, zone, made) == wanted


def test_a_time_of_day_before_the_start_is_the_next_day(made, settings):
    settings.TIME_ZONE = "UTC"
    assert read_moment("9:05", "", made) == datetime(2026, 3, 29, 9, 5, tzinfo=UTC)
    # The clocks go forward in that night.
    berlin = datetime(2026, 3, 29, 9, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    assert read_moment("9:05", "Europe/Berlin", made) == berlin


def test_the_page_begins_at_a_time(viewer, made, settings):
    settings.TIME_ZONE = "UTC"
    write(made, [20] * 100)
    page = viewer.get(log_of(made, "?at=22:00:40"))
    assert shown(page) == list(range(40, 100))
    assert page.content.decode().count("jc-log-here") == 1
    assert shown(viewer.get(log_of(made, link(page, "What was before")))) == list(range(40))
    page = viewer.get(log_of(made, "?at=22:00:40&q=line 5&level=INFO"))
    assert shown(page) == list(range(50, 60))
    assert 'name="at"' in page.content.decode()
    assert 'value="22:00:40"' in page.content.decode()


def test_of_a_time_after_the_end_the_end_is_shown(viewer, made, settings):
    settings.TIME_ZONE = "UTC"
    write(made, [20] * 300)
    page = viewer.get(log_of(made, "?at=23:00"))
    assert shown(page) == list(range(100, 300))
    assert "The log ends before 2026-03-28 23:00:00 : this is its end." in text(page)
    Build.objects.update(status="RUNNING", end_time=None)
    assert "Nothing was logged after" in text(viewer.get(log_of(made, "?at=23:00")))


@pytest.mark.parametrize(
    "written",
    ["soon", "25:00", "22:61", "0001-01-01 00:00+14:00", "9999-12-31T23:59-12:00", "<b>", "²:00"],
)
def test_what_is_no_time_is_said(viewer, made, written):
    write(made, [20] * 3)
    page = viewer.get(log_of(made), {"at": written})
    assert shown(page) == [0, 1, 2]
    assert "is no time. Write it like 14:03" in text(page)
    assert "<b>”" not in page.content.decode()


def test_a_file_is_not_cut_by_a_time_or_a_page(viewer, made):
    write(made, [20] * 3)
    page = viewer.get(log_of(made, "?at=22:00:02&q=line&wrap=no")).content.decode()
    assert 'log.txt?q=line"' in page
