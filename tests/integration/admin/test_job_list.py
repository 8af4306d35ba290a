"""The list of jobs: filters, search, start from it, empty states, and its cost."""

import html
import re

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse

from builds.admin import job_list
from builds.models import Build, BuildDependency, BuildPayload
from builds.status import statuses_of
from jobs.models import Job
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/jobs/job/"
CONFIG = """
jobs:
  - {id: good, tags: [a, b], title: The good one, function: "tests.support.odd_jobs:value"}
  - {id: bad, tags: [a], function: "tests.support.odd_jobs:raise_", args: [ValueError]}
  - {id: user, tags: [b], function: "tests.support.odd_jobs:value", args: [!retval good]}
  - {id: new, function: "tests.support.odd_jobs:value"}
  - {id: guarded, protect: true, function: "tests.support.odd_jobs:value"}
  - {id: blocked, function: "tests.support.odd_jobs:value", dependencies: [new]}
"""


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def listed(client, query=""):
    response = client.get(LIST + query)
    assert response.status_code == 200, query
    return [job.pk for job in response.context["cl"].result_list]


def text(response):
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def nonce_of(response):
    return re.search(r'name="nonce" value="([^"]+)"', response.content.decode())[1]


def test_jobs_are_filtered_by_where_they_stand(viewer):
    """original #34: the filter form was a placeholder; original #3"""
    build("good")
    build("user")
    build("bad")
    newer = build("good")
    Build.objects.create(job_id="good", status="FAILED")
    Build.objects.create(job_id="new", status="QUEUED")
    everything = ["good", "bad", "user", "new", "guarded", "blocked"]
    expected = {
        "success": ["good"],
        "outdated": ["user"],
        "failed": ["bad"],
        "not_built": ["new", "guarded", "blocked"],
        "last_failed": ["good", "bad"],
        "unfinished": ["new"],
        "blocked": ["blocked"],
        "nonsense": everything,
        "%00": everything,
    }
    for state, jobs in expected.items():
        if state == "%00":
            assert viewer.get(f"{LIST}?status=%00").status_code == 302
            continue
        assert listed(viewer, f"?retired__exact=0&status={state}") == jobs, state
    assert listed(viewer, "?status=not_built&protected__exact=1") == ["guarded"]
    assert f"newer build #{newer.pk} of good" in text(viewer.get(f"{LIST}?status=outdated"))


@pytest.mark.parametrize("state", ["not_built", "success"])
def test_a_job_that_came_after_a_filter_had_looked_waits_for_the_next_look(
    viewer, monkeypatch, state
):
    """A filter that most jobs fit leaves out the others, and so does not know this one."""
    build("good")
    found = statuses_of

    def earlier(names, **options):
        return found([name for name in names if name not in ("guarded", "good")], **options)

    monkeypatch.setattr(job_list, "statuses_of", earlier)
    expected = {"not_built": ["bad", "user", "new", "blocked"], "success": []}
    assert listed(viewer, f"?status={state}") == expected[state]


def test_jobs_are_filtered_by_tag_protected_retired_and_found(viewer):
    use_config(CONFIG.replace("  - {id: new,", "  - {id: renamed,").replace("[new]", "[renamed]"))
    assert listed(viewer, "?tag=a&tag=b") == ["good"]
    assert listed(viewer, "?protected__exact=1") == ["guarded"]
    assert "new" in listed(viewer, "?retired__exact=1")
    assert listed(viewer, "?q=the+good") == ["good"]
    assert listed(viewer, "?q=good&tag=a&tag=b") == ["good"]


def test_a_search_keeps_every_chosen_filter(viewer):
    page = viewer.get(f"{LIST}?tag=a&tag=b&protected__exact=0&p=1").content.decode()
    form = re.search(r'<form method="get" role="search".*?</form>', page, re.S)[0]
    kept = re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', form)
    assert kept == [("tag", "a"), ("tag", "b"), ("protected__exact", "0")]


def test_the_last_failure_is_shown_by_its_first_line(viewer):
    """original #30"""
    Build.objects.create(
        job_id="bad", status="FAILED", exception_type="ValueError",
        exception_message="first line <b>\nsecond line",
    )  # fmt: skip
    page = viewer.get(LIST).content.decode()
    assert "ValueError: first line &lt;b&gt;" in page
    assert "second line" not in page


def test_a_row_has_a_button_that_builds_once(builder):
    page = builder.get(LIST)
    address = reverse("admin:jobs_job_build", args=["good"])
    assert f'formaction="{address}"' in page.content.decode()
    sent = {"nonce": nonce_of(page), "action": "", "_selected_action": ["bad"]}
    first = builder.post(address, sent)
    assert builder.post(address, sent).headers["Location"] == first.headers["Location"]
    assert [made.job_id for made in Build.objects.all()] == ["good"]
    other = reverse("admin:jobs_job_build", args=["new"])
    builder.post(other, sent)
    assert Build.objects.count() == 2
    builder.post(address, {"nonce": nonce_of(builder.get(LIST))})
    assert Build.objects.count() == 3


def test_who_may_not_build_sees_no_column_of_buttons(builder, viewer):
    assert "column-button" in builder.get(LIST).content.decode()
    assert "column-button" not in viewer.get(LIST).content.decode()


def test_the_action_sent_twice_builds_once(builder):
    sent = {
        "nonce": nonce_of(builder.get(LIST)),
        "action": "build_selected",
        "_selected_action": ["good", "new", "blocked"],
    }
    builder.post(LIST, sent, follow=True)
    response = builder.post(LIST, sent, follow=True)
    assert Build.objects.count() == 2
    assert "Asked for by the same click before" in text(response)
    assert "no successful build of 'new'" in text(response)


def test_all_that_cannot_start_is_reported_but_not_without_end(builder):
    jobs = "\n".join(f"  - {{id: j{n}, function: 'm:f', dependencies: [base]}}" for n in range(30))
    use_config(f"jobs:\n  - {{id: base, function: 'm:f'}}\n{jobs}")
    chosen = [f"j{n}" for n in range(30)]
    response = builder.post(
        LIST, {"action": "build_selected", "_selected_action": chosen}, follow=True
    )
    said = [str(message) for message in response.context["messages"]]
    assert len(said) == 11
    assert "20 more" in said[-1]


def test_without_any_job_the_page_says_how_to_declare_one(viewer, settings):
    use_config("jobs: []")
    Build.objects.all().delete()
    from jobs.models import registry_writes

    with registry_writes():
        Job.objects.all().delete()
    seen = text(viewer.get(LIST))
    assert "There are no jobs yet" in seen
    assert settings.JOBCONTROL_CONFIG in seen
    assert "check-jobs" in seen


def test_where_nothing_matches_the_page_leads_back(viewer):
    page = viewer.get(f"{LIST}?q=nothing+like+this")
    assert "No job matches" in text(page)
    assert "There are no jobs yet" not in text(page)
    assert '<a href="?">Show all jobs</a>' in page.content.decode()


def test_who_may_not_see_builds_gets_no_links_to_them(staff):
    made = build("good")
    client = staff("jobs.view_job")
    page = client.get(LIST).content.decode()
    assert f"#{made.pk}" in page
    assert "/admin/builds/build/" not in page


@pytest.fixture
def thousand_jobs():
    """1,000 jobs, each with a dependency, and 3,000 builds; every twentieth pins its input."""
    lines = ["  - {id: j0, function: 'm:f', tags: [t]}"]
    for n in range(1, 1000):
        pin = f", pinned_builds: {{j{n - 1}: 1}}" if n % 20 == 0 else ""
        more = f"dependencies: [j{n - 1}], tags: [t{n % 50}]{pin}"
        lines.append(f"  - {{id: j{n}, function: 'm:f', {more}}}")
    use_config("jobs:\n" + "\n".join(lines))
    for state in ("SUCCESSFUL", "FAILED", "RUNNING"):
        made = Build.objects.bulk_create(
            Build(job_id=f"j{n}", status=state, exception_message="no") for n in range(1000)
        )
        BuildPayload.objects.bulk_create(BuildPayload(build=one) for one in made)
    good = dict(Build.objects.filter(status="SUCCESSFUL").values_list("job_id", "pk"))
    BuildDependency.objects.bulk_create(
        BuildDependency(build_id=good[f"j{n}"], job_id=f"j{n - 1}",
                        dep_build_id=good[f"j{n - 1}"], dep_build_number=good[f"j{n - 1}"])
        for n in range(1, 1000)
    )  # fmt: skip


def test_at_a_thousand_jobs_pages_keep_to_few_queries(
    builder, thousand_jobs, django_assert_max_num_queries
):
    """original #30: 698 queries for 50 jobs"""
    job = reverse("admin:jobs_job_change", args=[quote("j500")])
    form = reverse("admin:jobs_job_build_form", args=[quote("j500")])
    for url in (
        LIST,
        f"{LIST}?p=7",
        f"{LIST}?all=",
        f"{LIST}?status=outdated",
        f"{LIST}?status=success&tag=t3&q=j",
        job,
        f"{job}?status=FAILED",
        form,
    ):
        # Two of them for the permissions of somebody who is no superuser.
        with django_assert_max_num_queries(17):
            assert builder.get(url).status_code == 200
