"""That a job is outdated because of a job far away is said wherever a job's state is."""

import re

import pytest

from jobcontrol.core import JobControl
from tests.integration.admin.test_graph_pages import drawn
from tests.support.commands import run, run_json
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: crawl, function: "tests.support.odd_jobs:value"}
  - {id: clean, function: "tests.support.odd_jobs:value", args: [!retval crawl]}
  - {id: report, function: "tests.support.odd_jobs:value", args: [!retval clean]}
"""
WHY = "clean is itself outdated"


@pytest.fixture(autouse=True)
def outdated(transactional_db):
    """A report whose input is outdated, though it used the newest there is."""
    use_config(CONFIG)
    for name in ("crawl", "clean", "report", "crawl"):
        build(name)


def text(response):
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.mark.parametrize("query", ["", "?status=outdated", "?status=outdated&q=report"])
def test_the_list_of_jobs_says_it_also_when_it_is_filtered(viewer, query):
    page = text(viewer.get(f"/admin/jobs/job/{query}"))
    assert f"outdated: {WHY}" in page


def test_the_list_of_successes_has_none_of_them(viewer):
    page = viewer.get("/admin/jobs/job/?status=success")
    assert [job.pk for job in page.context["cl"].result_list] == ["crawl"]


def test_the_page_and_the_graph_of_the_job_say_it(viewer):
    assert f"Outdated: {WHY}" in text(viewer.get("/admin/jobs/job/report/change/"))
    for address in ("/admin/jobs/job/graph/", "/admin/jobs/job/report/graph/"):
        tooltip = drawn(viewer.get(address))["report"]
        assert "outdated" in tooltip
        assert WHY in tooltip


def test_the_page_of_the_job_leads_to_a_plan_that_makes_it_current(viewer, builder):
    address = "/admin/jobs/job/report/change/"
    link = "/admin/jobs/job/report/build-form/?first=outdated"
    assert link in builder.get(address).content.decode()
    form = text(builder.get(link))
    assert re.search(r"clean newer build #\d+ of crawl report asked for; after clean", form), form
    assert link not in viewer.get(address).content.decode()
    # A job that is outdated by itself alone is current after one build.
    clean = builder.get("/admin/jobs/job/clean/change/").content.decode()
    assert "newer build" in clean
    assert "?first=outdated" not in clean


def test_the_api_says_it(viewer):
    one = viewer.get("/api/job/report").json()
    assert (one["status"], one["stale_reasons"]) == ("outdated", [WHY])
    listed = {job["id"]: job["stale_reasons"] for job in viewer.get("/api/job/").json()}
    assert listed["report"] == [WHY]


@pytest.mark.parametrize("command", [("list_jobs",), ("show_job", "report")])
def test_the_commands_say_it(command):
    assert WHY in " ".join(run(*command).out.split())
    found = run_json(*command)
    one = found if isinstance(found, dict) else found[-1]
    assert (one["id"], one["status"], one["stale_reasons"]) == ("report", "outdated", [WHY])


def test_job_code_is_told():
    job = JobControl().get_job("report")
    assert job.get_status() == "outdated"
    assert job.is_outdated() is True
