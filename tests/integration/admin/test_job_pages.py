"""What jobs get in the admin: where they stand, the build button, the action."""

import re
from html import unescape
from urllib.parse import quote as url_quote

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from builds.models import Build
from jobs import registry
from jobs.config import Problem, load_object
from tests.support.jobs import build, use_config
from tests.support.pages import markup

pytestmark = pytest.mark.django_db(transaction=True)

ODD_ID = "a/ü %&?_#"
CONFIG = f"""
jobs:
  - {{id: first, title: "The first", tags: [x], function: "tests.support.odd_jobs:value"}}
  - {{id: second, function: "tests.support.odd_jobs:value", args: [!retval first]}}
  - {{id: guarded, protect: true, function: "tests.support.odd_jobs:value"}}
  - {{id: "{ODD_ID}", function: "tests.support.odd_jobs:value"}}
"""
LIST = "/admin/jobs/job/"


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


def page_of(job_id):
    return reverse("admin:jobs_job_change", args=[quote(job_id)])


def button_of(job_id):
    return reverse("admin:jobs_job_build", args=[quote(job_id)])


def told(response):
    return [unescape(strip_tags(str(message))) for message in response.context["messages"]]


def rows(response):
    """The text of each row of a list, by the first word of its job's id or title."""
    table = re.search(r'<table id="result_list".*?</table>', response.content.decode(), re.S)[0]
    found = re.findall(r"<tr\b.*?</tr>", table, re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found[1:]]


def test_the_list_shows_where_jobs_stand_in_the_order_of_the_file(viewer):
    """original #30: the last failure is shown too"""
    good = build("first")
    failed = Build.objects.create(
        job_id="first", status="FAILED", exception_type="ValueError", exception_message="<bad>"
    )
    running = Build.objects.create(job_id="first", status="RUNNING")
    first, second, guarded, odd = rows(viewer.get(f"{LIST}?retired__exact=0"))
    assert first.startswith("success running The first first x")
    assert f"#{running.pk} RUNNING" in first
    assert f"#{failed.pk} FAILED ValueError: &lt;bad&gt;" in first
    assert f"#{good.pk} SUCCESSFUL" in first
    assert second.startswith("not built second")
    assert "protected" in guarded
    assert "a/ü %&amp;?_#" in odd


def test_the_list_says_why_a_job_is_outdated_and_what_is_missing(viewer):
    assert "needs a build of first" in rows(viewer.get(LIST))[1]
    build("first")
    build("second")
    newer = build("first")
    row = rows(viewer.get(LIST))[1]
    assert row.startswith("outdated")
    assert f"newer build #{newer.pk} of first" in row


def test_the_button_asks_for_a_build_and_leads_to_it(builder):
    response = builder.post(button_of("first"), follow=True)
    made = Build.objects.get()
    assert (made.status, made.trigger, made.requested_by) == ("QUEUED", "quick", builder.user)
    assert response.redirect_chain == [(f"/admin/builds/build/{made.pk}/change/", 302)]
    assert told(response) == [f"Queued: build #{made.pk} of first."]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user) == ("first", builder.user)
    assert f"#{made.pk}" in entry.get_change_message()


def test_a_job_with_an_odd_id_has_a_page_and_a_button(builder):
    assert builder.get(page_of(ODD_ID)).status_code == 200
    builder.post(button_of(ODD_ID))
    assert Build.objects.get().job_id == ODD_ID
    page = builder.get(page_of(ODD_ID)).content.decode()
    link = f"/admin/builds/build/?job__id__exact={url_quote(ODD_ID, safe='')}"
    assert f'href="{link}"' in page
    assert len(builder.get(link).context["cl"].result_list) == 1


@pytest.mark.parametrize(
    ("job_id", "why"), [("guarded", "is protected"), ("second", "no successful build of 'first'")]
)
def test_a_job_that_cannot_be_built_says_why_beside_a_disabled_button(builder, job_id, why):
    """original #5: the run button posted all the same"""
    page = markup(builder.get(page_of(job_id)))
    assert re.search(r"<button type=\"submit\"[^>]* disabled[^>]*>Build now</button>", page)
    assert why in page.replace("&#x27;", "'")
    row = next(row for row in rows(builder.get(LIST)) if job_id in row)
    assert ("protected" if job_id == "guarded" else "needs a build of first") in row
    response = builder.post(button_of(job_id), follow=True)
    assert response.redirect_chain == [(page_of(job_id), 302)]
    assert why in told(response)[0]
    assert not Build.objects.exists()


def test_a_job_that_can_be_built_has_its_button_and_its_builds(builder):
    made = build("first")
    page = builder.get(page_of("first")).content.decode()
    assert "disabled" not in re.search(r"<button[^>]*>Build now", page)[0]
    assert f'<a href="/admin/builds/build/{made.pk}/change/">#{made.pk}</a>' in page


def test_who_may_only_look_gets_no_button_and_is_refused(viewer):
    assert "Build now" not in viewer.get(page_of("first")).content.decode()
    assert "build_selected" not in viewer.get(LIST).content.decode()
    assert viewer.post(button_of("first")).status_code == 403
    viewer.post(LIST, {"action": "build_selected", "_selected_action": ["first"]})
    assert not Build.objects.exists()


def test_who_may_not_see_jobs_cannot_build_them(staff):
    client = staff("builds.run_build")
    assert client.post(button_of("first")).status_code == 403
    assert not Build.objects.exists()


def test_who_may_not_see_builds_is_led_back_to_the_job(staff):
    client = staff("jobs.view_job", "builds.run_build")
    response = client.post(button_of("first"), follow=True)
    assert response.redirect_chain == [(page_of("first"), 302)]
    assert Build.objects.count() == 1
    assert "All builds of this job" not in response.content.decode()


def test_a_build_is_asked_for_by_post_with_a_token_only(builder):
    # By GET comes who had to log in again after pressing it.
    response = builder.get(button_of("first"), follow=True)
    assert response.redirect_chain == [(page_of("first"), 302)]
    assert "Nothing was started" in response.content.decode()
    assert builder.put(button_of("first")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(builder.user)
    assert strict.post(button_of("first")).status_code == 403
    assert not Build.objects.exists()


def test_a_stranger_is_led_to_the_login(client):
    response = client.post(button_of("first"))
    assert (response.status_code, "login" in response.headers["Location"]) == (302, True)


def test_the_action_builds_what_can_be_built_and_says_what_cannot(builder):
    response = builder.post(
        LIST,
        {"action": "build_selected", "_selected_action": ["first", "second", "guarded", ODD_ID]},
        follow=True,
    )
    assert set(Build.objects.values_list("job_id", flat=True)) == {"first", ODD_ID}
    messages = " ".join(told(response))
    assert "guarded" in messages
    assert "'first'" in messages
    assert "Queued: build" in messages


def test_a_retired_job_cannot_be_built(builder):
    use_config("jobs: []")
    page = builder.get(page_of("first")).content.decode()
    assert "no longer in the configuration file" in page
    assert "retired" in page
    builder.post(button_of("first"))
    assert not Build.objects.exists()


@pytest.mark.parametrize("job_id", ["nope", "%00", "_", "x" * 5000, "a/b/c", "_2F", "..", "%ff"])
def test_an_odd_id_is_not_found_and_no_error(builder, job_id):
    for kind in ("change", "build"):
        url = f"{LIST}{job_id}/{kind}/"
        response = builder.get(url) if kind == "change" else builder.post(url)
        assert response.status_code in (302, 404), url
    assert not Build.objects.exists()


def test_problems_of_the_file_are_shown_on_every_page(viewer, client, monkeypatch):
    problem = Problem("must be a list", "type", job="<b>", line=12, path="jobs.yaml")
    monkeypatch.setattr(registry, "problems", lambda: (problem,))
    made = build("first")
    for url in ("/admin/", LIST, page_of("first"), f"/admin/builds/build/{made.pk}/change/"):
        page = viewer.get(url).content.decode()
        assert "must be a list" in page, url
        assert "<b>&#x27;" not in page
    assert "must be a list" not in client.get("/admin/login/").content.decode()


NOTES = """
.. list-table::
   :widths: 10 90

   * - a
     - b

.. image:: http://example.com/x.png
   :width: 50%
   :height: 10px

.. figure:: http://example.com/y.png
   :figwidth: 30%
"""


def test_our_pages_need_no_inline_style_or_script(builder):
    """A content security policy forbids both; also in what reStructuredText is made of."""
    noted = {"id": "noted", "function": "m:f", "notes": NOTES}
    configuration = load_object({"jobs": [noted]})
    registry.use(configuration)
    registry.sync(configuration, check_functions=False)
    for url in (LIST, page_of("noted"), reverse("admin:jobs_job_build_form", args=["noted"])):
        page = builder.get(url).content.decode()
        found = re.findall(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son[a-z]+=", page)
        assert not found, f"{url}: {found}"
    page = builder.get(page_of("noted")).content.decode()
    assert page.count('src="http://example.com/') == 2
    assert "<td><p>b</p></td>" in page
