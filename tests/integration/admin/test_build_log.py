"""The page of a build's log: filtered, a part at a time, with links to lines, and as files."""

import json
import re
from datetime import UTC, datetime

import pytest
from django.urls import reverse
from django.utils import timezone

from builds.models import Build, LogMessage
from builds.pages import log as log_pages
from builds.pages import log_files, log_parts
from tests.support.jobs import build_function
from tests.support.pages import NASTY, file_of, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

LEVELS = (10, 20, 30, 40, 50)


@pytest.fixture
def long_log():
    """500 lines, levels in turn."""
    made = build_function("tests.support.odd_jobs:value")
    LogMessage.objects.all().delete()
    LogMessage.objects.bulk_create(
        LogMessage(
            build=made,
            created=timezone.now(),
            level=LEVELS[number % 5],
            logger="x",
            message=f"line {number} of 500",
        )
        for number in range(500)
    )
    return made


def log_of(build, query=""):
    return reverse("admin:builds_build_log", args=[build.pk]) + query


def unmarked(response):
    """The page without the marks of a search."""
    return re.sub("</?mark>", "", response.content.decode())


def shown(response):
    return [int(n) for n in re.findall(r"line (\d+) of 500", unmarked(response))]


def link(response, label):
    found = re.search(rf'<a href="([^"]*)">{label}</a>', response.content.decode())
    return found and found[1].replace("&amp;", "&")


def test_the_build_page_shows_the_last_lines(viewer, long_log):
    page = viewer.get(page_of(long_log))
    assert shown(page) == list(range(500 - log_pages.TAIL_LINES, 500))
    assert log_of(long_log) in page.content.decode()


def test_the_log_is_read_part_by_part_in_both_ways(viewer, long_log):
    first = viewer.get(log_of(long_log))
    assert shown(first) == list(range(200))
    assert link(first, "‹ Earlier") is None
    second = viewer.get(log_of(long_log, link(first, "Later ›")))
    assert shown(second) == list(range(200, 400))
    third = viewer.get(log_of(long_log, link(second, "Later ›")))
    assert shown(third) == list(range(400, 500))
    assert link(third, "Later ›") is None
    assert shown(viewer.get(log_of(long_log, link(third, "‹ Earlier")))) == list(range(200, 400))
    assert shown(viewer.get(log_of(long_log, link(first, "End »")))) == list(range(300, 500))
    assert shown(viewer.get(log_of(long_log, link(third, "« Start")))) == list(range(200))


def test_the_log_is_filtered_by_level_and_text(viewer, long_log):
    """original #34: the filter form was a placeholder"""
    found = viewer.get(log_of(long_log, "?level=ERROR"))
    assert shown(found) == [number for number in range(500) if number % 5 >= 3]
    assert shown(viewer.get(log_of(long_log, "?level=critical&q=LINE 49"))) == [49, 494, 499]
    assert "Nothing in the log matches" in text(viewer.get(log_of(long_log, "?q=nothing")))
    later = viewer.get(log_of(long_log, "?level=WARNING"))
    assert "level=WARNING" in link(later, "Later ›")


def test_each_level_says_how_many_lines_it_would_show(viewer, long_log):
    found = text(viewer.get(log_of(long_log, "?q=line 1")))
    # 111 lines begin with 1: 1, 10-19, 100-199.
    counts = [sum(1 for n in range(500) if str(n)[0] == "1" and n % 5 >= k) for k in range(5)]
    assert counts[0] == 111
    assert f"All 111 DEBUG and up 111 INFO and up {counts[1]} WARNING and up {counts[2]}" in found
    assert f"CRITICAL {counts[4]}" in found


def test_the_counting_is_bounded(viewer, long_log, monkeypatch):
    assert "The log is long" not in text(viewer.get(log_of(long_log)))
    monkeypatch.setattr(log_pages, "COUNTED_LINES", 100)
    found = text(viewer.get(log_of(long_log)))
    # Warnings stand together in an index: their counts go on further.
    assert "All 100+ DEBUG and up 100+ INFO and up 80+ WARNING and up 100+ ERROR" in found
    assert "at least so many: 100 lines were counted" in found
    found = text(viewer.get(log_of(long_log, "?q=line 4")))
    assert "WARNING and up 7+" in found


@pytest.mark.parametrize(
    "query",
    ["?after=x", "?before=-1", "?from=" + "9" * 40, "?after=²", "?level=LOUD", "?q=%00", "?line="],
)
def test_odd_questions_about_the_log_are_answered(viewer, long_log, query):
    assert viewer.get(log_of(long_log, query)).status_code == 200


def test_a_line_has_a_link_that_leads_to_it(viewer, long_log):
    line = LogMessage.objects.get(message="line 321 of 500")
    page = viewer.get(log_of(long_log, "?q=line 321")).content.decode()
    assert f'id="line-{line.pk}"' in page
    assert f'href="{log_of(long_log)}?from={line.pk}#line-{line.pk}"' in page
    assert shown(viewer.get(log_of(long_log, f"?from={line.pk}")))[0] == 321


def test_a_long_message_is_cut_and_whole_alone(viewer):
    made = build_function("tests.support.odd_jobs:value")
    message = NASTY + "x" * 60_000
    line = LogMessage.objects.create(
        build=made, created=timezone.now(), level=20, logger="x", message=message
    )
    page = viewer.get(log_of(made))
    assert f"{len(message) - log_parts.MESSAGE_CHARS} more characters" in text(page)
    assert len(page.content) < 40_000
    alone = viewer.get(log_of(made, f"?line={line.pk}")).content.decode()
    assert "x" * 60_000 in alone
    assert NASTY not in alone


def test_a_line_of_another_build_is_not_shown(viewer, long_log):
    other = build_function("tests.support.odd_jobs:value")
    line = LogMessage.objects.filter(build=long_log).first()
    assert not shown(viewer.get(log_of(other, f"?line={line.pk}")))


def test_logged_exceptions_are_shown(viewer):
    """original #26: tracebacks of logged exceptions were stored but never shown"""
    made = build_function("jobcontrol.utils.testing:job_with_logging")
    for url in (page_of(made), log_of(made)):
        page = viewer.get(url).content.decode()
        assert "<summary>Traceback</summary>" in page
        assert "ValueError" in page


def test_tracebacks_of_many_lines_stand_behind_links(viewer, monkeypatch):
    monkeypatch.setattr(log_pages, "TRACEBACKS", 1)
    made = build_function("jobcontrol.utils.testing:job_with_logging")
    line = LogMessage.objects.filter(exception__isnull=False).first()
    line.pk = None
    line.save()
    page = viewer.get(log_of(made)).content.decode()
    assert page.count("<summary>Traceback</summary>") == 1
    assert f'<a href="{log_of(made)}?line={line.pk}">Traceback</a>' in page
    assert "<details open>" in viewer.get(log_of(made, f"?line={line.pk}")).content.decode()


def test_a_log_is_shown_with_the_status_of_its_moment(viewer, long_log, monkeypatch):
    """Not as QUEUED, beside the lines of the run that began while they were read."""
    Build.objects.update(status="QUEUED")
    read = log_pages.part_of

    def claimed_meanwhile(*arguments):
        Build.objects.filter(status="QUEUED").update(status="RUNNING")
        return read(*arguments)

    monkeypatch.setattr(log_pages, "part_of", claimed_meanwhile)
    assert "RUNNING" in text(viewer.get(log_of(long_log)))


def test_a_log_of_nothing_says_so(viewer, long_log):
    LogMessage.objects.all().delete()
    assert "Nothing was logged." in text(viewer.get(log_of(long_log)))
    assert "Nothing was logged." in text(viewer.get(page_of(long_log)))


# --- files ----------------------------------------------------------------------------------------


def downloaded(client, build, name, query=""):
    answer = client.get(file_of(build, name) + query)
    assert answer.status_code == 200
    assert answer.streaming
    return b"".join(answer.streaming_content).decode()


def test_the_files_hold_what_is_filtered(viewer, long_log, monkeypatch):
    """original #34: download was a placeholder"""
    monkeypatch.setattr(log_files, "BATCH", 7)
    lines = downloaded(viewer, long_log, "log.txt").splitlines()
    assert [line.rpartition("x: ")[2] for line in lines] == [f"line {n} of 500" for n in range(500)]
    page = viewer.get(log_of(long_log, "?level=ERROR&q=line 4&after=3"))
    query = re.search(r'log\.jsonl(\?[^"]*)"', page.content.decode())[1].replace("&amp;", "&")
    rows = [
        json.loads(row) for row in downloaded(viewer, long_log, "log.jsonl", query).splitlines()
    ]
    wanted = [n for n in range(500) if str(n)[0] == "4" and n % 5 >= 3]
    assert [row["message"] for row in rows] == [f"line {n} of 500" for n in wanted]
    assert set(rows[0]) >= {"created", "level", "logger", "message", "exception"}


def test_a_line_of_the_text_file(viewer, settings):
    """original #26: times were UTC in one place and local in another"""
    settings.TIME_ZONE = "Asia/Tokyo"
    made = build_function("jobcontrol.utils.testing:job_with_logging")
    line = LogMessage.objects.filter(exception__isnull=False).first()
    moment = datetime(2026, 7, 1, 22, 30, 1, 250_000, tzinfo=UTC)
    LogMessage.objects.exclude(pk=line.pk).delete()
    LogMessage.objects.update(created=moment, message="went wrong", logger="mine", level=40)
    seen = downloaded(viewer, made, "log.txt")
    assert seen.startswith(
        "2026-07-02 07:30:01.250 +0900 ERROR    mine: went wrong\nTraceback (most"
    )


def test_who_may_not_see_builds_sees_no_log(staff, client, long_log):
    for url in (log_of(long_log), file_of(long_log, "log.txt"), file_of(long_log, "config.yaml")):
        assert staff("jobs.view_job").get(url).status_code == 403
        assert client.get(url).status_code == 302
        assert staff("builds.view_build").post(url).status_code == 405


def test_there_is_no_log_of_no_build(viewer):
    for number in ("1", "9" * 40):
        assert viewer.get(f"/admin/builds/build/{number}/log/").status_code == 404
        assert viewer.get(f"/admin/builds/build/{number}/download/log.txt").status_code == 404
