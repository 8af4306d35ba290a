"""The strip of a job's page, and the grid of all jobs: their last builds."""

from __future__ import annotations

import html
import random
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds.admin import grid
from builds.models import Build
from builds.pages import recent
from builds.pages.figures import HIGHEST, LEAST
from jobs.models import Job
from tests.integration.admin.test_live import refresh
from tests.support.jobs import build, use_config
from tests.support.pages import NASTY

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: first, title: "The <b>first</b>", tags: [x/y, z], function: "tests.support.odd_jobs:value"}
  - {id: second, function: "tests.support.odd_jobs:value", args: [!retval first]}
  - {id: third, title: Third, tags: [z], function: "tests.support.odd_jobs:value"}
"""
GRID = "/admin/jobs/job/grid/"
JOB = "/admin/jobs/job/first/change/"


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def past(job, status, seconds, ago=0, **more):
    """A build that ended `ago` hours ago."""
    start = timezone.now() - timedelta(hours=ago, seconds=seconds)
    return Build.objects.create(
        job_id=job,
        status=status,
        start_time=start,
        end_time=start + timedelta(seconds=seconds),
        **more,
    )


def plain(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def strip_part(response):
    page = response.content.decode()
    return re.search(r'aria-labelledby="strip-heading".*?</section>', page, re.S)[0]


def links(markup):
    """Number → what the link says, in order; each leads to the build of this number."""
    found = re.findall(
        r'href="/admin/builds/build/(\d+)/change/"\s*>.*?class="jc-detail">(.*?)</a>', markup, re.S
    )
    assert all(plain(said).startswith(f"#{number} ") for number, said in found)
    return {
        int(number): plain(said).replace(" ,", ",").replace(" :", ":") for number, said in found
    }


def rows(response):
    assert response.status_code == 200
    table = re.search(r"<tbody>(.*?)</tbody>", response.content.decode(), re.S)
    return re.findall(r"<tr>(.*?)</tr>", table[1], re.S) if table else []


def names(response):
    return re.findall(r"/admin/jobs/job/(\w+)/change/", " ".join(rows(response)))


# --- The strip ------------------------------------------------------------------------------------


def test_the_strip_shows_the_last_builds_with_their_outcome_and_duration(viewer):
    old = past("first", "SUCCESSFUL", 20, ago=3)
    bad = past("first", "FAILED", 5, ago=2, exception_type="Ouch", exception_message="it\nhurts")
    skipped = past("first", "SKIPPED", 1, ago=1, exception_message="nothing new")
    queued = Build.objects.create(job_id="first", status="QUEUED")
    past("second", "SUCCESSFUL", 1)
    part = strip_part(viewer.get(JOB))
    found = links(part)
    assert list(found) == [queued.pk, skipped.pk, bad.pk, old.pk]
    shown = f"{timezone.localtime(bad.start_time):%Y-%m-%d %H:%M:%S}"
    assert found[bad.pk] == f"#{bad.pk} failed, took 5.0 s, started {shown}: Ouch: it"
    assert found[skipped.pk].endswith(": nothing new")
    assert found[queued.pk].startswith(f"#{queued.pk} queued, asked for 20")
    heights = [int(height) for height in re.findall(r'height="(\d+)" rx=', part)]
    assert heights == [max(round(HIGHEST / 20), LEAST), HIGHEST // 4, HIGHEST]
    assert re.findall(r"#jc-mark-(\w+)", part) == ["waiting", "skipped", "failed", "successful"]
    assert "67% 2 of 3 1 under way" in plain(part)
    assert "Median 20.0 s" in plain(part)
    assert "p95 20.0 s" in plain(part)


def test_the_strip_ends_after_fifty_and_tells_the_trend(viewer):
    for n in range(60):
        past("first", "SUCCESSFUL", 10 if n < 40 else 15, ago=60 - n)
    part = strip_part(viewer.get(JOB))
    assert len(links(part)) == recent.IN_STRIP
    assert "Last 50 builds" in plain(part)
    assert "100% 50 of 50" in plain(part)
    assert "50% longer median of the last 16 successes: 15.0 s, of those before: 10.0 s" in plain(
        part
    )


def test_a_running_build_counts_on(viewer):
    start = timezone.now() - timedelta(seconds=7)
    running = Build.objects.create(job_id="first", status="RUNNING", start_time=start)
    part = strip_part(viewer.get(JOB))
    assert links(part)[running.pk].startswith(f"#{running.pk} running, for ")
    assert 7 <= float(re.search(r'data-seconds="([\d.]+)"', part)[1]) < 60


def test_a_build_that_never_ran_has_a_mark_and_no_bar(viewer):
    made = Build.objects.create(job_id="first", status="CANCELLED", end_time=timezone.now())
    part = strip_part(viewer.get(JOB))
    assert made.pk in links(part)
    assert "rx=" not in part
    assert "1 cancelled" in plain(part)
    assert "Median" not in plain(part)


def test_a_job_never_built_has_no_strip_and_who_sees_no_builds_neither(viewer, staff):
    part = strip_part(viewer.get(JOB))
    assert part.startswith('aria-labelledby="strip-heading" id="strip" hx-swap-oob="true"')
    assert " hidden>" in part
    build("first")
    assert " hidden>" not in strip_part(viewer.get(JOB))
    assert "strip-heading" not in staff("jobs.view_job").get(JOB).content.decode()


@pytest.mark.parametrize("address", [JOB, GRID])
def test_what_a_job_said_is_escaped_and_bounded(viewer, address):
    past("first", "FAILED", 1, exception_type="Odd", exception_message=NASTY + "x" * 5_000)
    with CaptureQueriesContext(connection) as asked:
        answer = viewer.get(address)
    page = answer.content.decode()
    assert html.escape(NASTY) in page
    assert NASTY not in page
    assert "x" * recent.FIRST_CHARS not in (strip_part(answer) if address == JOB else page)
    deferred = [
        one["sql"] for one in asked if re.search(r'"builds_build"."id" = \d+ LIMIT 21', one["sql"])
    ]
    assert deferred == []


def test_the_strip_costs_one_question_whatever_it_shows(viewer):
    job = Job.objects.get(pk="first")
    for n in range(55):
        past("first", "FAILED", n, exception_type="Odd", exception_message="x")
    with CaptureQueriesContext(connection) as asked:
        assert len(recent.newest_of_strip(job)) == recent.IN_STRIP
    assert len(asked) == 1


def test_the_strip_is_a_part_of_the_page_that_comes_anew(viewer):
    past("first", "SUCCESSFUL", 1)
    stamp = refresh(viewer, JOB, "").headers["X-Live-Stamp"]
    assert refresh(viewer, JOB, stamp).status_code == 204
    made = past("first", "FAILED", 1)
    answer = refresh(viewer, JOB, stamp)
    assert answer.status_code == 200
    assert made.pk in links(strip_part(answer))


# --- The last builds of many jobs -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_last_builds_of_jobs_are_those_of_each(monkeypatch, seed):
    monkeypatch.setattr(recent, "IN_GRID", 4)
    chance = random.Random(seed)  # noqa: S311 - no secret
    ids = ["first", "second", "third"]
    weights = [chance.choice([0, 1, 10]) for _ in ids]
    if any(weights):
        chosen = chance.choices(ids, weights, k=chance.randrange(30))
        Build.objects.bulk_create(Build(job_id=name, status="FAILED") for name in chosen)
    for asked in (ids, ids[:1], []):
        with CaptureQueriesContext(connection) as queries:
            found = recent.recent_builds(asked)
        assert len(queries) == (2 if asked else 0)
        for name in ids:
            own = Build.objects.filter(job=name).newest_first().values_list("pk", flat=True)
            expected = list(own[:4]) if name in asked else []
            assert [one.pk for one in found.get(name, [])] == expected


# --- The grid -------------------------------------------------------------------------------------


def test_the_grid_shows_jobs_in_the_order_of_the_file_with_their_last_builds(viewer):
    first = build("first")
    build("second")
    newer = build("first")
    bad = past("second", "FAILED", 2, exception_type="Ouch")
    page = viewer.get(GRID)
    one, two, three = rows(page)
    assert names(page) == ["first", "second", "third"]
    assert list(links(one)) == [newer.pk, first.pk]
    assert "The <b>first</b>" in html.unescape(one)
    assert "The <b>first</b>" not in one
    assert plain(two).startswith("second outdated")
    assert next(iter(links(two))) == bad.pk
    assert "1 of 2" in plain(two)
    assert plain(three).startswith("Third third not built never built –")


def test_no_more_than_twenty_stand_in_a_row(viewer):
    made = [past("first", "SKIPPED", 1).pk for _ in range(recent.IN_GRID + 3)]
    assert list(links(rows(viewer.get(GRID))[0])) == made[: -recent.IN_GRID - 1 : -1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=thi", ["third"]),
        ("?tag=z", ["first", "third"]),
        ("?tag=z&tag=x/y", ["first"]),
        ("?status=not_built&tag=z", ["third"]),
        ("?status=success", ["first"]),
        ("?q=nothing+is+called+so", []),
        ("?retired__exact=1", []),
    ],
)
def test_the_grid_is_searched_and_filtered_as_the_list_is(viewer, query, expected):
    build("first")
    page = viewer.get(GRID + query)
    assert names(page) == expected
    if not expected:
        assert "No job matches." in plain(page.content.decode())


@pytest.mark.parametrize("query", ["?nothing=1", "?protected__exact=%00", "?tag=%00"])
def test_odd_filters_lead_back_to_the_whole_grid(viewer, query):
    answer = viewer.get(GRID + query)
    assert answer.status_code == 302
    assert answer.headers["Location"] == GRID


def test_the_grid_has_pages(viewer, monkeypatch):
    monkeypatch.setattr(grid, "PER_PAGE", 2)
    assert names(viewer.get(GRID)) == ["first", "second"]
    second = viewer.get(GRID + "?p=2")
    assert names(second) == ["third"]
    anew = refresh(viewer, GRID + "?p=2", "old")
    assert names(anew) == ["third"]
    assert "live=" not in anew.content.decode()


@pytest.mark.parametrize("query", ["?q=%00", "?p=9999", "?p=x", "?live=%00", "?e=1"])
def test_other_odd_addresses_are_no_error(viewer, query):
    assert names(viewer.get(GRID + query)) == ["first", "second", "third"]


def test_the_grid_is_for_those_who_see_jobs_and_builds(viewer, staff, client):
    links_to_it = [reverse("admin:index"), reverse("admin:jobs_job_changelist")]
    for address in links_to_it:
        assert f'href="{GRID}"' in viewer.get(address).content.decode()
    half = staff("jobs.view_job")
    assert half.get(GRID).status_code == 403
    assert refresh(half, GRID, "old").status_code == 403
    for address in links_to_it:
        assert f'href="{GRID}"' not in half.get(address).content.decode()
    assert staff("builds.view_build").get(GRID).status_code == 403
    assert client.get(GRID).status_code == 302
    assert viewer.post(GRID).status_code == 405


CHANGES = {
    "a build": lambda: past("first", "FAILED", 1),
    "its end": lambda: Build.objects.filter(status="RUNNING").update(
        status="FAILED", end_time=timezone.now()
    ),
    "its deletion": lambda: Build.objects.filter(status="RUNNING").delete(),
    "the file": lambda: use_config(CONFIG.replace("Third", "Fourth")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_grid_comes_anew_when_something_changed(viewer, what):
    Build.objects.create(job_id="third", status="RUNNING", start_time=timezone.now())
    stamp = refresh(viewer, GRID, "").headers["X-Live-Stamp"]
    nothing = refresh(viewer, GRID, stamp)
    assert (nothing.status_code, nothing.content) == (204, b"")
    CHANGES[what]()
    answer = refresh(viewer, GRID, stamp)
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    assert 'id="grid" hx-swap-oob="true"' in answer.content.decode()
    assert refresh(viewer, GRID, answer.headers["X-Live-Stamp"]).status_code == 204


def test_a_job_outdated_by_one_on_another_page_is_shown(viewer):
    build("first"), build("second")
    address = GRID + "?q=second"
    stamp = refresh(viewer, address, "").headers["X-Live-Stamp"]
    assert refresh(viewer, address, stamp).status_code == 204
    build("first")
    answer = refresh(viewer, address, stamp)
    assert "outdated" in plain(rows(answer)[0])


def test_the_grid_asks_again_sooner_while_something_runs(viewer):
    quiet = float(refresh(viewer, GRID, "old").headers["X-Live-Every"])
    Build.objects.create(job_id="third", status="QUEUED")
    assert float(refresh(viewer, GRID, "old").headers["X-Live-Every"]) < quiet
    # To find these, all jobs are looked at each time.
    costly = refresh(viewer, GRID + "?status=not_built", "old")
    assert float(costly.headers["X-Live-Every"]) > quiet
