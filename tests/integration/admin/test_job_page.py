"""The page of one job: what stands first, its builds, its neighbours, its history."""

import html
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone

from builds.admin import job_page
from builds.models import Build
from builds.templatetags.builds_text import exact_time
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: first, title: The first, tags: [x/y], function: "tests.support.odd_jobs:value"}
  - {id: second, function: "tests.support.odd_jobs:value", args: [!retval first]}
  - {id: third, title: Third, function: "tests.support.odd_jobs:value", args: [!retval second]}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def page_of(job_id, query=""):
    return reverse("admin:jobs_job_change", args=[quote(job_id)]) + query


def text(response):
    assert response.status_code == 200
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def section(response, name):
    """The text of one section of the page."""
    found = re.search(
        rf'aria-labelledby="{name}-heading"[^>]*>(.*?)</section>', response.content.decode(), re.S
    )
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[1])).split())


def numbers(response, name="builds"):
    return [int(number) for number in re.findall(r"#(\d+)", section(response, name))]


def test_unfinished_builds_stand_first_then_the_latest_success_then_the_last_failure(viewer):
    """original #30"""
    failed = Build.objects.create(job_id="first", status="FAILED", exception_type="Ouch")
    build("first")
    good = build("first")
    Build.objects.create(job_id="first", status="SKIPPED")
    queued = Build.objects.create(job_id="first", status="QUEUED")
    running = Build.objects.create(job_id="first", status="RUNNING")
    page = viewer.get(page_of("first"))
    assert numbers(page, "standing") == [running.pk, queued.pk, good.pk, failed.pk]
    assert "Ouch" in section(page, "standing")


def test_builds_are_filtered(viewer):
    """original #34: filter form and pagination were placeholders"""
    old = Build.objects.create(job_id="first", status="FAILED", trigger="api")
    Build.objects.filter(pk=old.pk).update(created=timezone.now() - timedelta(days=9))
    new = Build.objects.create(job_id="first", status="FAILED", trigger="cli")
    queued = Build.objects.create(job_id="first", status="QUEUED", trigger="cli")
    Build.objects.create(job_id="second", status="FAILED")

    def shown(**query):
        return numbers(viewer.get(page_of("first"), query))

    today = timezone.localdate()
    assert shown() == [queued.pk, new.pk, old.pk]
    assert shown(status="FAILED") == [new.pk, old.pk]
    assert shown(status="unfinished") == [queued.pk]
    assert shown(trigger="cli") == [queued.pk, new.pk]
    assert shown(since=today - timedelta(days=1)) == [queued.pk, new.pk]
    assert shown(until=today - timedelta(days=1)) == [old.pk]
    assert shown(since=today, until=today, status="FAILED") == [new.pk]
    nothing = viewer.get(page_of("first"), {"status": "CANCELLED"})
    assert "No build of this job matches" in section(nothing, "builds")


@pytest.mark.parametrize(
    "query",
    ["?status=LOUD", "?since=x", "?until=9999-12-31", "?since=0001-01-01", "?trigger=%00",
     "?page=0", "?page=x", "?page=" + "9" * 40],
)  # fmt: skip
def test_odd_filters_are_no_error(viewer, query):
    made = Build.objects.create(job_id="first", status="FAILED")
    assert numbers(viewer.get(page_of("first", query))) == [made.pk]


def test_a_wrong_date_is_said_beside_its_field(viewer):
    page = viewer.get(page_of("first", "?since=31.1.2026")).content.decode()
    assert 'id="builds-since_error"' in page
    assert 'value="31.1.2026"' in page


def test_builds_are_paged(viewer, monkeypatch):
    monkeypatch.setattr(job_page, "BUILDS_SHOWN", 2)
    made = [Build.objects.create(job_id="first", status="FAILED").pk for _ in range(5)]
    assert numbers(viewer.get(page_of("first"))) == made[:2:-1]
    second = viewer.get(page_of("first", "?page=2&status=FAILED"))
    assert numbers(second) == made[2:0:-1]
    assert 'href="?page=3&amp;status=FAILED#builds"' in second.content.decode()


def test_neighbours_stand_both_ways_with_their_state(viewer):
    build("first")
    page = viewer.get(page_of("second"))
    assert section(page, "needs") == "Needs success The first first"
    assert section(page, "needed").startswith("Needed by not built Third third")
    assert f'href="{page_of("first")}"' in page.content.decode()


def test_tags_lead_to_the_jobs_that_carry_them(viewer):
    assert 'href="/admin/jobs/job/?tag=x%2Fy"' in viewer.get(page_of("first")).content.decode()


def test_a_job_that_was_never_built_says_what_to_do(builder, viewer):
    assert "Start the first build with the button above" in text(builder.get(page_of("first")))
    assert "button above" not in text(viewer.get(page_of("first")))


def test_what_was_asked_for_is_in_the_history(builder):
    builder.post(reverse("admin:jobs_job_build", args=["first"]), {"nonce": "x"})
    seen = text(builder.get(reverse("admin:jobs_job_history", args=["first"])))
    assert f"Asked for build #{Build.objects.get().pk} by quick build." in seen
    assert builder.user.username in seen


def test_a_history_without_entries_says_so_truly(builder, viewer):
    page = viewer.get("/admin/jobs/job/second/history/").content.decode()
    assert "Nobody did anything with this" in page
    builder.post(reverse("admin:jobs_job_build", args=["first"]))
    page = viewer.get("/admin/jobs/job/first/history/").content.decode()
    assert "Nobody did" not in page
    made = LogEntry.objects.get().action_time
    assert f'title="{exact_time(made)}"' in page


def test_the_days_of_the_filter_are_said_to_be_the_sites(viewer, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    build("first")
    assert "Days are those of Asia/Tokyo." in section(viewer.get(page_of("first")), "builds")


def test_times_say_the_exact_moment_on_hover(viewer):
    made = build("first")
    page = viewer.get(page_of("first")).content.decode()
    local = timezone.localtime(made.created)
    found = re.search(r'<time class="jc-time" datetime="([^"]+)" title="([^"]+)">([^<]+)<', page)
    assert found[1] == local.isoformat()
    assert found[2] == f"{local:%Y-%m-%d %H:%M:%S.%f %z} ({local.tzname()})"
    assert found[3] == f"{local:%Y-%m-%d %H:%M:%S}"
    listed = viewer.get(reverse("admin:jobs_job_changelist")).content.decode()
    assert re.search(
        rf'<time class="jc-ago" [^>]*title="{re.escape(found[2][:10])}[^>]*>just now<', listed
    )


def test_the_graph_is_linked(viewer):
    address = reverse("admin:jobs_job_graph", args=["first"])
    assert f'href="{address}"' in viewer.get(page_of("first")).content.decode()
    page = viewer.get(reverse("admin:jobs_job_changelist")).content.decode()
    assert f'href="{reverse("admin:jobs_graph")}"' in page


def test_nothing_is_written_by_the_page(builder):
    assert builder.post(page_of("first"), {"title": "x"}).status_code == 405
