"""The answers to pages that are open: nothing where nothing happened, else the parts anew."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from builds import services
from builds.deletion_models import Deletion
from builds.models import Build, BuildProgress
from builds.pages import refreshing
from builds.planning import Dependencies, Options
from jobs.models import Job
from tests.support.jobs import build, use_config
from tests.support.pages import CONFIG, markup, page_of, text

pytestmark = pytest.mark.django_db(transaction=True)

HX = {"HX-Request": "true"}


@pytest.fixture
def site(transactional_db):
    use_config(CONFIG)


def running() -> Build:
    now = timezone.now()
    made = services.request_build(job=Job.objects.get(pk="first"), trigger="cli")
    made.status, made.start_time, made.heartbeat, made.worker = "RUNNING", now, now, "a:1:1"
    made.save()
    return made


def first_load(client, address: str) -> str:
    """Return the stamp that the first refresh of a page brings."""
    page = client.get(address)
    assert page.status_code == 200
    assert f'data-live="{address}" data-every="' in page.text
    return refresh(client, address, "").headers["X-Live-Stamp"]


def refresh(client, address: str, stamp: str):
    between = "&" if "?" in address else "?"
    return client.get(f"{address}{between}live={stamp}", headers=HX)


PROGRESS = {"current": 1, "total": 2, "status_line": "", "position": 0}
CHANGES = {
    "progress": lambda made: BuildProgress.objects.create(
        build=made, group_name='["a"]', group_digest="a", updated=timezone.now(), **PROGRESS
    ),
    "a cancel": lambda made: services.cancel_build(build=made),
    "a mark": lambda made: services.keep_build(build=made, keep=True),
    "the end": lambda made: Build.objects.filter(pk=made.pk).update(
        status="FAILED", end_time=timezone.now()
    ),
    "a heartbeat much later": lambda made: Build.objects.filter(pk=made.pk).update(
        heartbeat=timezone.now() + timedelta(seconds=60)
    ),
    "a retry": lambda made: Build.objects.create(job_id="first", retry_of=made, attempt=2),
    "a deletion": lambda made: Deletion.objects.create(job_id="first", build_number=made.pk),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_page_of_a_build_comes_anew_when_something_changed(site, viewer, what):
    made = running()
    address = page_of(made)
    stamp = first_load(viewer, address)
    nothing = refresh(viewer, address, stamp)
    assert (nothing.status_code, nothing.content) == (204, b"")
    assert nothing.headers["X-Live-Stamp"] == stamp
    CHANGES[what](made)
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert answer.headers["X-Live-Stamp"] != stamp
    assert "<html" not in answer.text
    parts = set(re.findall(r'id="([\w-]+)" hx-swap-oob="true"', answer.text))
    assert parts >= {"title", "banners", "actions", "facts", "progress", "result"}
    again = refresh(viewer, address, answer.headers["X-Live-Stamp"])
    assert again.status_code == 204


def test_first_load_and_refresh_have_the_same_parts_in_the_same_words(site, viewer):
    made = running()
    CHANGES["progress"](made)
    pieces = r'<(\w+)[^<>]* id="%s" hx-swap-oob="true".*?</\1>'
    page = viewer.get(page_of(made)).text
    answer = refresh(viewer, page_of(made), "old").text
    for name in ("title", "banners"):
        first, second = (re.search(pieces % name, html, re.S) for html in (page, answer))
        assert first
        assert second
        assert first[0] == second[0]


def test_a_page_says_how_soon_to_ask_again_and_when_not_to(site, viewer):
    made = running()
    answer = refresh(viewer, page_of(made), "old")
    assert float(answer.headers["X-Live-Every"]) == refreshing.RUNNING
    CHANGES["the end"](made)
    assert refresh(viewer, page_of(made), "old").headers["X-Live-Every"] == "0"
    CHANGES["a deletion"](made)
    answer = refresh(viewer, page_of(made), "old")
    assert float(answer.headers["X-Live-Every"]) == refreshing.WAITING


def test_what_a_waiting_build_waits_for_is_looked_at(site, viewer):
    made = services.request_build(job=Job.objects.get(pk="first"), trigger="cli")
    stamp = first_load(viewer, page_of(made))
    assert refresh(viewer, page_of(made), stamp).status_code == 204
    Build.objects.filter(pk=made.pk).update(queue="another")
    assert refresh(viewer, page_of(made), stamp).status_code == 200


def test_a_job_s_page_follows_its_builds_and_inputs(site, viewer):
    build("first"), build("second")
    address = reverse("admin:jobs_job_change", args=["second"])
    stamp = first_load(viewer, address)
    assert refresh(viewer, address, stamp).status_code == 204
    newer = build("first")
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert f"newer build #{newer.pk} of" in answer.text
    stamp = answer.headers["X-Live-Stamp"]
    assert refresh(viewer, address, stamp).status_code == 204
    own = build("second")
    assert f"#{own.pk}" in refresh(viewer, address, stamp).text


def test_a_job_s_page_follows_its_neighbours(site, viewer):
    """Where those stand that it needs, and that need it, is shown beside it."""
    address = reverse("admin:jobs_job_change", args=["first"])
    stamp = first_load(viewer, address)
    other = Build.objects.create(job_id="second", status="RUNNING", start_time=timezone.now())
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    part = markup(answer).split('id="needed" hx-swap-oob="true"')[1].split("</section>")[0]
    assert "running" in part
    stamp = answer.headers["X-Live-Stamp"]
    assert refresh(viewer, address, stamp).status_code == 204
    Build.objects.filter(pk=other.pk).update(status="FAILED", end_time=timezone.now())
    assert refresh(viewer, address, stamp).status_code == 200


def test_a_job_s_page_follows_what_its_builds_wait_for(site, viewer):
    options = Options(dependencies=Dependencies.ALL)
    made = services.request_build(job=Job.objects.get(pk="second"), trigger="cli", options=options)
    needed = made.plan.builds.get(job="first")
    address = reverse("admin:jobs_job_change", args=["second"])
    stamp = first_load(viewer, address)
    assert refresh(viewer, address, stamp).status_code == 204
    Build.objects.filter(pk=needed.pk).update(status="RUNNING", start_time=timezone.now())
    answer = refresh(viewer, address, stamp)
    assert answer.status_code == 200
    assert f"build #{needed.pk} of first (running)" in text(answer)


def test_a_job_s_page_shows_the_file_as_it_is_now(site, viewer):
    """What a click on its button would run."""
    address = reverse("admin:jobs_job_change", args=["first"])
    stamp = first_load(viewer, address)
    use_config(CONFIG.replace("<i>first</i>", "another argument"))
    answer = refresh(viewer, address, stamp)
    about = markup(answer).split('id="about" hx-swap-oob="true"')[1]
    assert "another argument" in about


@pytest.mark.parametrize("name", ["jobs_graph", "jobs_job_graph", "jobs_job_change"])
def test_without_javascript_a_page_that_changes_can_be_loaded_again(site, viewer, name):
    args = ["first"] if name.startswith("jobs_job_") else []
    assert '<a class="jc-reload" href="">' in viewer.get(reverse(f"admin:{name}", args=args)).text


def test_a_plan_s_page_follows_its_builds(site, staff):
    reader = staff("jobs.view_job", "builds.view_build", "builds.view_plan")
    options = Options(dependencies=Dependencies.ALL)
    made = services.request_build(job=Job.objects.get(pk="second"), trigger="cli", options=options)
    address = reverse("admin:builds_plan_change", args=[made.plan.pk])
    stamp = first_load(reader, address)
    assert refresh(reader, address, stamp).status_code == 204
    made.plan.builds.filter(job="first").update(status="RUNNING", start_time=timezone.now())
    answer = refresh(reader, address, stamp)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    made.plan.builds.update(status="SUCCESSFUL", end_time=timezone.now())
    assert refresh(reader, address, stamp).headers["X-Live-Every"] == "0"


@pytest.mark.parametrize(("page", "most"), [("build", 8), ("job", 15), ("plan", 9)])
def test_nothing_new_costs_little(site, staff, page, most):
    """Four of them are the session, the user and what the user may do."""
    reader = staff("jobs.view_job", "builds.view_build", "builds.view_plan")
    options = Options(dependencies=Dependencies.ALL)
    made = services.request_build(job=Job.objects.get(pk="second"), trigger="cli", options=options)
    build("first"), build("second")
    address = {
        "build": page_of(running()),
        "job": reverse("admin:jobs_job_change", args=["second"]),
        "plan": reverse("admin:builds_plan_change", args=[made.plan.pk]),
    }[page]
    stamp = first_load(reader, address)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert refresh(reader, address, stamp).status_code == 204
    assert len(asked) <= most, [one["sql"][:90] for one in asked]


def test_who_may_not_see_it_gets_nothing(site, staff, client):
    made = running()
    address = page_of(made)
    answer = refresh(client, address, "old")
    assert answer.status_code == 302
    assert "X-Live-Stamp" not in answer.headers
    answer = refresh(staff("jobs.view_job"), address, "old")
    assert answer.status_code == 403
    assert "X-Live-Stamp" not in answer.headers


@pytest.mark.parametrize("stamp", ["", "%00", "<script>", "x" * 5_000, "é"])
def test_an_odd_stamp_is_an_old_one(site, viewer, stamp):
    assert refresh(viewer, page_of(running()), stamp).status_code == 200
