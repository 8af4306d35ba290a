"""What a page that shows a log asks for while the build runs, and the pages that ask."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds.models import Build, LogMessage
from builds.pages import log as log_pages
from builds.pages import log_parts
from tests.support.jobs import build_function
from tests.support.pages import NASTY, page_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running():
    """A build that runs, without a log."""
    made = build_function("tests.support.odd_jobs:value")
    LogMessage.objects.all().delete()
    Build.objects.update(status="RUNNING", end_time=None)
    return Build.objects.get(pk=made.pk)


def log(build, *messages, level=20, **more):
    """Write these lines; the number of the last one."""
    for message in messages:
        line = LogMessage.objects.create(
            build=build, created=timezone.now(), level=level, message=message, **more
        )
    return line.pk


def log_of(build, query=""):
    return reverse("admin:builds_build_log", args=[build.pk]) + query


def news(client, build, after, query=""):
    address = reverse("admin:builds_build_log_news", args=[build.pk])
    return client.get(f"{address}?after={after}{query}")


def shown(response):
    return re.findall(r"<pre>(.*?)</pre>", response.content.decode(), re.S)


def test_only_what_is_new_comes_as_the_page_would_show_it(viewer, running):
    last = log(running, "one", "two")
    page = viewer.get(log_of(running)).content.decode()
    assert f'data-log-after="{last}"' in page
    now = log(running, "three", f"\x1b[31m{NASTY}")
    answer = news(viewer, running, last)
    assert answer.status_code == 200
    assert len(shown(answer)) == 2
    assert "three" in shown(answer)[0]
    assert answer.headers["X-Log-After"] == str(now)
    assert answer.headers["X-Log-Status"] == "RUNNING"
    assert "X-Log-Over" not in answer.headers
    assert "no-store" in answer.headers["Cache-Control"]
    assert NASTY not in answer.content.decode()
    assert "<html" not in answer.content.decode()
    (item,) = re.findall(rf'<li class="jc-log-info" id="line-{now}" >.*?</li>', _flat(answer))
    assert item in _flat(viewer.get(log_of(running)))


def _flat(response):
    return " ".join(response.content.decode().split())


def test_nothing_new_is_a_short_answer(viewer, running):
    last = log(running, "one")
    with CaptureQueriesContext(connection) as queries:
        answer = news(viewer, running, last)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["X-Log-After"] == str(last)
    # Who asks, what they may, the build, and the number of its newest line.
    assert len(queries) <= 6, [query["sql"] for query in queries]


def test_of_very_many_new_lines_the_newest_come_and_a_gap_is_told(viewer, running, monkeypatch):
    monkeypatch.setattr(log_parts, "LINES", 5)
    last = log(running, "one")
    log(running, *(f"line {n}" for n in range(8)))
    answer = news(viewer, running, last)
    assert shown(answer) == [f"line {n}" for n in range(3, 8)]
    link = re.search(r'<li class="jc-log-gap">\s*<a href="([^"]*)"', answer.content.decode())
    assert shown(viewer.get(link[1].replace("&amp;", "&"))) == [f"line {n}" for n in range(5)]


def test_news_are_filtered_and_go_on_after_what_did_not_match(viewer, running, monkeypatch):
    monkeypatch.setattr(log_parts, "LOOKED_AT", 10)
    last = log(running, "one")
    log(running, "no match", "an apple")
    log(running, "an apple", level=40)
    now = log(running, *["no match"] * 4)
    answer = news(viewer, running, last, "&q=apple")
    assert [re.sub("</?mark>", "", line) for line in shown(answer)] == ["an apple", "an apple"]
    assert answer.headers["X-Log-After"] == str(now)
    answer = news(viewer, running, last, "&level=ERROR&q=apple")
    assert len(shown(answer)) == 1
    answer = news(viewer, running, last, "&q=banana")
    assert answer.status_code == 204
    assert answer.headers["X-Log-After"] == str(now)
    # More than are looked at: there may have been some.
    log(running, *["no match"] * 20)
    assert "jc-log-gap" in news(viewer, running, now, "&q=banana").content.decode()


def test_the_end_of_the_build_is_told_with_its_last_lines(viewer, running):
    last = log(running, "one")
    now = log(running, "the end")
    Build.objects.update(status="FAILED", end_time=timezone.now())
    answer = news(viewer, running, last)
    assert shown(answer) == ["the end"]
    assert answer.headers["X-Log-Over"] == "yes"
    assert answer.headers["X-Log-Status"] == "FAILED"
    answer = news(viewer, running, now)
    assert answer.status_code == 204
    assert answer.headers["X-Log-Over"] == "yes"


def test_the_counts_come_when_they_are_asked_for(viewer, running, monkeypatch):
    last = log(running, "one")
    log(running, "two", level=40)
    assert "X-Log-Counts" not in news(viewer, running, last).headers
    answer = news(viewer, running, last, "&counts=1&level=ERROR")
    assert answer.headers["X-Log-Counts"] == "2,2,2,1,1,0"
    monkeypatch.setattr(log_pages, "COUNTED_LINES", 1)
    answer = news(viewer, running, last, "&counts=1")
    assert answer.headers["X-Log-Counts"] == "1+,1+,1+,1,1,0"


def test_lines_of_other_builds_are_no_news(viewer, running):
    other = build_function("tests.support.odd_jobs:value")
    log(other, "of another one")
    assert news(viewer, running, 0).status_code == 204


@pytest.mark.parametrize("after", ["", "x", "-1", "9" * 40])
def test_odd_numbers_are_answered(viewer, running, after):
    log(running, "one")
    assert shown(news(viewer, running, after)) == ["one"]


def test_pages_of_running_builds_ask_for_news_where_the_end_is_shown(viewer, running, monkeypatch):
    monkeypatch.setattr(log_parts, "LINES", 5)
    for address in (log_of(running), page_of(running)):
        page = viewer.get(address).content.decode()
        assert 'data-log-after="0"' in page
        assert "Nothing has been logged yet." in page
    last = log(running, *(f"line {n}" for n in range(8)))
    assert "data-log-news" not in viewer.get(log_of(running)).content.decode()
    tail = viewer.get(log_of(running, "?tail=1")).content.decode()
    assert f'data-log-after="{last}"' in tail
    assert "data-log-follows" in tail
    assert "data-log-news" in viewer.get(page_of(running)).content.decode()
    assert "data-log-news" not in viewer.get(log_of(running, f"?line={last}")).content.decode()
    Build.objects.update(status="FAILED", end_time=timezone.now())
    for address in (log_of(running, "?tail=1"), page_of(running)):
        assert "data-log-news" not in viewer.get(address).content.decode()


def test_who_may_not_see_builds_sees_no_news(staff, client, running):
    log(running, "one")
    assert news(staff("jobs.view_job"), running, 0).status_code == 403
    assert news(client, running, 0).status_code == 302
    Build.objects.all().delete()
    assert news(staff("builds.view_build"), running, 0).status_code == 404


def test_long_lines_are_wrapped_unless_the_address_says_no(viewer, running):
    log(running, "one", level=40)
    for address in (log_of(running, "?"), page_of(running, "?")):
        page = viewer.get(address).content.decode()
        assert "jc-nowrap" not in page
        assert "Do not wrap lines" in page
        page = viewer.get(address + "wrap=no").content.decode()
        assert "jc-nowrap" in page
        assert "Wrap long lines" in page
    page = viewer.get(log_of(running, "?wrap=no")).content.decode()
    # Whatever else is chosen, it stays.
    assert 'href="?wrap=no&amp;level=ERROR"' in page
    assert page.count('<input type="hidden" name="wrap" value="no">') == 2


def test_colours_are_shown_and_downloads_have_the_text_as_it_was(viewer, running):
    log(running, "\x1b[1;31mred\x1b[0m \x1b[2Kplain")
    seen = '<span class="jc-a-1 jc-a-bold">red</span> plain'
    for address in (log_of(running), page_of(running)):
        assert seen in viewer.get(address).content.decode()
    address = reverse("admin:builds_build_download", args=[running.pk, "log.txt"])
    assert b"\x1b[1;31mred\x1b[0m \x1b[2Kplain" in b"".join(viewer.get(address).streaming_content)
