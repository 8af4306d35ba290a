"""The list of builds: filters, search, and pages that are not counted to the end."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds.admin import filters, paging
from builds.models import Build
from tests.support.jobs import build, build_function, use_config
from tests.support.pages import CONFIG, text

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/builds/build/"


def test_builds_are_filtered_and_found_by_job(viewer):
    use_config(CONFIG)
    first, second = build("first"), build("second")
    url = reverse("admin:builds_build_changelist")

    def rows(query):
        response = viewer.get(url + query)
        assert response.status_code == 200, query
        return {one.pk for one in response.context["cl"].result_list}

    assert rows("") == {first.pk, second.pk}
    assert rows("?status__exact=FAILED") == set()
    assert rows("?trigger__exact=python") == {first.pk, second.pk}
    assert rows("?q=seco") == {second.pk}
    assert rows("?q=%00") == {first.pk, second.pk}
    assert rows("?job__id__exact=first") == {first.pk}
    assert rows(f"?inputs__dep_build__id__exact={first.pk}") == {second.pk}


def test_odd_filters_are_no_error(viewer):
    url = reverse("admin:builds_build_changelist")
    for query in (
        "?status__exact=%00",
        "?created__gte=0001-01-01T00:00:00%2B14:00",
        "?created__lt=9999-12-31T23:59:59-14:00",
        "?inputs__dep_build__id__exact=x",
        "?p=9999",
        "?o=9",
        "?e=1",
    ):
        assert viewer.get(url + query).status_code in (200, 302), query


@pytest.mark.parametrize("name", ["builds_build_changelist", "jobs_job_changelist"])
def test_lists_ask_a_bounded_number_of_times(viewer, django_assert_max_num_queries, name):
    """original #30"""
    jobs = "\n".join(f"  - {{id: j{n}, function: 'm:f'}}" for n in range(40))
    use_config(f"jobs:\n{jobs}")
    for number in range(40):
        for state in ("SUCCESSFUL", "FAILED", "RUNNING"):
            Build.objects.create(
                job_id=f"j{number}", status=state, requested_by=viewer.user, trigger="quick"
            )
    viewer.get(reverse(f"admin:{name}"))
    with django_assert_max_num_queries(16):
        viewer.get(reverse(f"admin:{name}"))


def test_lists_do_not_load_payloads(viewer, django_assert_max_num_queries):
    """original #21: ten 2 MB values made a list of 2.6 s"""
    build_function("tests.support.odd_jobs:value", "x")
    with django_assert_max_num_queries(16) as captured:
        viewer.get(reverse("admin:builds_build_changelist"))
    assert not any("buildpayload" in query["sql"] for query in captured.captured_queries)


def rows(client, query=""):
    response = client.get(LIST + query)
    assert response.status_code == 200, query
    return [one.pk for one in response.context["cl"].result_list]


@pytest.fixture
def some_of_each():
    """A build in each state, of two jobs."""
    use_config(CONFIG)
    return {
        state: Build.objects.create(job_id="second" if state == "FAILED" else "first", status=state)
        for state in Build.Status.values
    }


@pytest.mark.parametrize(
    ("stage", "states"),
    [
        ("unfinished", {"CREATED", "WAITING", "QUEUED", "RUNNING"}),
        ("started", {"RUNNING", "SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED"}),
        ("finished", {"SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED"}),
        ("success", {"SUCCESSFUL", "SKIPPED"}),
        ("failure", {"FAILED", "CANCELLED"}),
        ("nonsense", set(Build.Status.values)),
    ],
)
def test_builds_are_filtered_by_stage(viewer, some_of_each, stage, states):
    """original #34: the filter form was a placeholder"""
    wanted = {some_of_each[state].pk for state in states}
    assert set(rows(viewer, f"?stage={stage}")) == wanted


def test_builds_are_filtered_by_period(viewer, some_of_each, settings):
    """original #34: the filter form was a placeholder"""
    settings.TIME_ZONE = "Asia/Tokyo"
    now = timezone.now()
    first, second, third, *_ = some_of_each.values()
    Build.objects.exclude(pk__in=[first.pk, second.pk, third.pk]).delete()
    Build.objects.filter(pk=second.pk).update(created=now - timedelta(hours=30))
    Build.objects.filter(pk=third.pk).update(created=datetime(2020, 5, 1, 16, tzinfo=UTC))
    assert rows(viewer, "?since=1d") == [first.pk]
    assert rows(viewer, "?since=40h") == [second.pk, first.pk]
    assert rows(viewer, "?until=2021-01-01") == [third.pk]
    # In Tokyo that was the second of May; a day as the end is that whole day.
    assert rows(viewer, "?since=2020-05-02&until=2020-05-02") == [third.pk]
    assert rows(viewer, "?until=2020-05-01") == []
    assert rows(viewer, "?since=2020-05-02 00:30&until=2020-05-02 01:30") == [third.pk]
    # The page shows times in the reader's zone, and says that these are not.
    assert "A day or a time of Asia/Tokyo" in text(viewer.get(LIST))


@pytest.mark.parametrize("text", ["x", "2020-13-45", "9" * 30 + "w", "0000-00-00", "1d\n\n"])
def test_a_period_that_makes_no_sense_is_said(viewer, some_of_each, text):
    response = viewer.get(LIST, {"since": text, "until": text})
    assert response.status_code == 200
    if text.strip() != "1d":
        assert 'class="jc-problem"' in response.content.decode()


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "2999-12-31T23:59-12:00"])
def test_a_period_at_the_edge_of_the_calendar_is_no_error(viewer, some_of_each, text):
    page = viewer.get(LIST, {"since": text, "until": text})
    assert page.status_code == 200
    assert not page.context["cl"].result_list
    every = viewer.get(LIST, {"since": "0001-01-01", "until": "9999-12-31"})
    assert len(every.context["cl"].result_list) == Build.objects.count() > 0


def test_blanks_around_an_id_are_part_of_it_where_it_has_them(viewer):
    use_config("jobs:\n  - {id: ' a', function: 'm:f'}\n  - {id: b, function: 'm:f'}\n")
    with_blank = Build.objects.create(job_id=" a")
    without = Build.objects.create(job_id="b")
    assert rows(viewer, "?" + urlencode({"job__id__exact": " a"})) == [with_blank.pk]
    assert rows(viewer, "?" + urlencode({"job__id__exact": " b "})) == [without.pk]


def test_filters_with_fields_keep_the_others(viewer, some_of_each):
    page = viewer.get(LIST + "?stage=finished&q=first&since=1d").content.decode()
    form = page[page.index('id="jc-filter-job"') - 900 : page.index('id="jc-filter-job"')]
    for name, value in (("stage", "finished"), ("q", "first"), ("since", "1d")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in form
    assert '<option value="second">' in page


@pytest.mark.parametrize("text", ["{}", "#{}", " #{} "])
def test_a_build_is_found_by_its_number(viewer, some_of_each, text):
    made = some_of_each["QUEUED"]
    assert rows(viewer, "?" + urlencode({"q": text.format(made.pk)})) == [made.pk]


def test_words_of_a_search_narrow_it(viewer, some_of_each):
    made = some_of_each["FAILED"]
    assert rows(viewer, "?q=SECOND") == [made.pk]
    assert rows(viewer, f"?q=second+{made.pk}") == [made.pk]
    assert rows(viewer, f"?q=first+{made.pk}") == []
    assert rows(viewer, "?q=" + "9" * 30) == []


@pytest.mark.parametrize("named", [0, 1, 2, 500])
def test_a_search_finds_the_same_however_many_jobs_have_its_words(
    viewer, some_of_each, monkeypatch, named
):
    monkeypatch.setattr(filters, "JOBS_NAMED", named)
    one = some_of_each["FAILED"].pk
    every = {build.pk for build in some_of_each.values()}
    for words, wanted in {
        "first": every - {one},
        "FIR t": every - {one},
        "second": {one},
        "s": every,
        "zz": set(),
        f"second {one}": {one},
        f"{one} #{one}": {one},
        f"zz {one}": set(),
    }.items():
        assert set(rows(viewer, "?" + urlencode({"q": words}))) == wanted, words


def test_a_search_looks_for_jobs_once_also_in_a_refresh(viewer, some_of_each):
    with CaptureQueriesContext(connection) as queries:
        assert viewer.get(LIST + "?q=second&live=old").status_code == 200
    searched = [one for one in queries if "LIKE" in one["sql"] and "jobs_job" in one["sql"]]
    assert len(searched) == 1


def test_a_long_list_is_neither_counted_nor_skipped_through(viewer, monkeypatch):
    monkeypatch.setattr(paging, "COUNTED", 150)
    use_config(CONFIG)
    made = [
        build.pk for build in Build.objects.bulk_create(Build(job_id="first") for _ in range(320))
    ]
    response = viewer.get(LIST)
    assert response.context["cl"].result_count == 150
    assert "More than 150 builds match" in text(response)
    assert "Older builds" not in text(response)
    seen, query = [], "?p=1"
    while query:
        seen += rows(viewer, query)
        response = viewer.get(LIST + query)
        cl = response.context["cl"]
        query = f"?p={cl.page_num + 1}" if cl.page_num < cl.paginator.num_pages else ""
        found = re.search(r'href="([^"]*)">Older builds', response.content.decode())
        if found:
            break
    assert seen == made[::-1][:150]
    assert rows(viewer, found[1]) == made[::-1][150:200]


def test_a_big_list_asks_the_database_for_a_bounded_count(viewer, django_assert_max_num_queries):
    use_config(CONFIG)
    Build.objects.bulk_create(Build(job_id="first", status="FAILED") for _ in range(300))
    with django_assert_max_num_queries(20) as captured:
        viewer.get(LIST + "?stage=finished&q=first&since=1d")
    counts = [query["sql"] for query in captured.captured_queries if "COUNT(" in query["sql"]]
    assert counts
    assert all(f"LIMIT {paging.COUNTED + 1}" in sql for sql in counts)


def test_empty_lists_say_what_to_do(viewer, staff):
    assert "Nothing has been built yet. Choose one of the jobs" in text(viewer.get(LIST))
    assert "No build matches. Show all builds" in text(viewer.get(LIST + "?stage=failure"))
    deletions = reverse("admin:builds_deletion_changelist")
    client = staff("builds.view_deletion")
    assert "No build has been deleted." in text(client.get(deletions))
    assert "No deletion matches" in text(client.get(deletions + "?state__exact=DONE"))


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ("/admin/builds/build/", "Builds"),
        ("/admin/builds/deletion/", "Deletions"),
        ("/admin/jobs/configrevision/", "Configuration revisions"),
        ("/admin/jobs/job/", "Jobs"),
    ],
)
def test_lists_are_named_by_what_they_list(staff, address, title):
    names = ("builds.view_build", "builds.view_deletion", "jobs.view_configrevision")
    page = staff("jobs.view_job", *names).get(address).content.decode()
    assert re.search(r"<h1[^>]*>\s*(.*?)\s*</h1>", page[page.index('id="content"') :])[1] == title
