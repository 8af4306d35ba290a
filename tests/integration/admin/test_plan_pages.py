"""Plans on pages: how one stands, what waits for what, cancelling a branch, resuming."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils.timezone import now

from builds import services
from builds.models import Build
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from builds.runner import run_here
from builds.services.retries import retry_build
from jobs.models import Job
from tests.support import pages
from tests.support.jobs import build, use_config
from tests.support.pages import page_of

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: base, title: "The <b>base</b>", function: "tests.support.odd_jobs:value", args: [1]}
  - {id: left, function: "tests.support.odd_jobs:raise_", args: [ValueError], dependencies: [base]}
  - {id: right, function: "tests.support.odd_jobs:echo", dependencies: [base]}
  - {id: middle, function: "tests.support.odd_jobs:echo", dependencies: [left]}
  - {id: top, function: "tests.support.odd_jobs:echo", dependencies: [middle, right]}
"""
MENDED = CONFIG.replace("odd_jobs:raise_", "odd_jobs:echo")
GUARDED = MENDED.replace("{id: left,", "{id: left, protect: true,")


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


@pytest.fixture
def viewer(staff):
    return staff("jobs.view_job", "builds.view_build", "builds.view_plan")


@pytest.fixture
def builder(staff):
    return staff("jobs.view_job", "builds.view_build", "builds.view_plan", "builds.run_build")


@pytest.fixture
def manager(staff):
    return staff(
        *("jobs.view_job", "builds.view_build", "builds.view_plan"),
        *("builds.run_build", "builds.run_protected_build"),
    )


def text(response):
    return html.unescape(pages.text(response))


def make_plan(first=Dependencies.MISSING, target="top", **wish):
    options = Options(dependencies=first)
    wish = {"job": Job.objects.get(pk=target), "trigger": "manual", "options": options} | wish
    return services.request_build(**wish).plan


def in_plan(plan, job_id):
    return plan.builds.filter(job=job_id).latest("pk")


def run(plan, *names):
    for name in names:
        run_here(in_plan(plan, name), arm=True)


def plan_page(plan, query=""):
    return reverse("admin:builds_plan_change", args=[plan.pk]) + query


def cancel_of(plan):
    return reverse("admin:builds_plan_cancel", args=[plan.pk])


def resume_of(plan):
    return reverse("admin:builds_plan_resume", args=[plan.pk])


def rows(response):
    """The rows of the table of builds, each as a text."""
    page = response.content.decode()
    body = page[page.index('id="builds"') :].partition("<tbody>")[2].partition("</tbody>")[0]
    texts = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in body.split("<tr")[1:]]
    return [html.unescape(one.partition(" ")[2] if one[:1] == ">" else one) for one in texts]


@pytest.fixture
def failed():
    """A plan of which a branch failed."""
    plan = make_plan()
    run(plan, "base", "left", "right")
    return plan


# --- The page -------------------------------------------------------------------------------------


def test_the_page_shows_the_builds_in_order_with_reasons_and_what_they_wait_for(viewer):
    user = User.objects.create_user("operator")
    plan = make_plan(requested_by=user)
    run(plan, "base")
    page = viewer.get(plan_page(plan))
    base, left, right, middle, top = plan.builds.order_by("pk")
    seen = rows(page)
    assert [one.split()[0] for one in seen[1:]] == ["left", "right", "middle", "top"]
    assert f"#{base.pk} SUCCESSFUL no successful build –" in seen[0]
    assert f"#{left.pk} QUEUED no successful build no cluster is alive" in seen[1]
    assert f"#{middle.pk} WAITING no successful build #{left.pk} of left –" in seen[3]
    assert f"#{middle.pk} of middle , #{right.pk} of right" in seen[4]
    assert "asked for" in seen[4]
    everything = text(page)
    assert "by operator" in everything
    assert "what is missing first" in everything
    assert "2 waiting, 2 queued, 1 successful" in everything
    assert "Plan 1 waiting" in everything.replace(f"Plan {plan.pk}", "Plan 1")
    assert f'href="{page_of(top)}"' in page.content.decode()


def test_the_graph_shows_states_and_what_is_used(viewer):
    base = build("base")
    plan = make_plan()
    run(plan, "left")
    page = viewer.get(plan_page(plan)).content.decode()
    picture = re.search(r'<svg[^>]*class="jc-graph-svg".*</svg>', page, re.S)[0]
    left = in_plan(plan, "left")
    node = rf'<g class="jc-node jc-node-failed"[^>]*><a href="{page_of(left)}">'
    assert re.search(node, picture)
    assert f"left (#{left.pk}): failed" in picture
    assert f"The <b>base</b> (#{base.pk}): reused" in html.unescape(picture)  # as elsewhere
    assert picture.count('class="jc-edge"') == 5
    assert "<b>" not in picture


def test_too_many_builds_for_a_picture_are_a_table(viewer, monkeypatch):
    monkeypatch.setattr("builds.pages.plan.MAX_NODES", 3)
    page = viewer.get(plan_page(make_plan()))
    assert "too many for a picture" in text(page)
    assert len(rows(page)) == 5


def test_the_picture_of_a_large_plan_is_drawn_when_it_is_asked_for(viewer, monkeypatch):
    monkeypatch.setattr("builds.pages.plan.DRAWN", 4)
    plan = make_plan()
    page = viewer.get(plan_page(plan))
    assert "A picture of 5 builds is hard to read" in text(page)
    assert "jc-graph-svg" not in page.content.decode()
    assert 'href="?graph=all#graph-heading"' in page.content.decode()
    drawn = viewer.get(plan_page(plan, "?graph=all")).content.decode()
    assert drawn.count('class="jc-edge"') == 5
    monkeypatch.setattr("builds.pages.plan.DRAWN", 5)
    assert "jc-graph-svg" in viewer.get(plan_page(plan)).content.decode()


def test_long_plans_are_shown_in_pages_and_lead_to_the_list(viewer, monkeypatch):
    monkeypatch.setattr("builds.pages.plan.LISTED", 2)
    plan = make_plan()
    shown = [rows(viewer.get(plan_page(plan, f"?page={n}"))) for n in (1, 2, 3)]
    names = [[one.split()[0] for one in page] for page in shown]
    assert names[1:] == [["right", "middle"], ["top"]]
    assert f"#{in_plan(plan, 'middle').pk} of middle" in shown[2][0]
    assert "asked for" in shown[2][0]
    first = viewer.get(plan_page(plan))
    assert rows(first) == shown[0]
    # The picture has them all.
    assert first.content.decode().count('class="jc-edge"') == 5
    assert 'href="?page=3#builds-heading">3</a>' in first.content.decode()
    assert "All 5 builds of it in the list of builds" in text(first)
    listed = viewer.get(f"/admin/builds/build/?plan__id__exact={plan.pk}")
    assert listed.context["cl"].result_count == 5


def test_a_refresh_of_a_page_of_a_plan_is_of_that_page(viewer, monkeypatch):
    monkeypatch.setattr("builds.pages.plan.LISTED", 2)
    plan = make_plan()
    page = viewer.get(plan_page(plan, "?page=2")).content.decode()
    assert f'data-live="{plan_page(plan)}?page=2"' in page
    fresh = viewer.get(plan_page(plan, "?page=2&live=old"))
    assert [one.split()[0] for one in rows(fresh)] == ["right", "middle"]
    assert 'href="?page=3#builds-heading">3</a>' in fresh.content.decode()


def test_an_attempt_that_was_tried_again_is_shown_as_such(viewer):
    use_config(CONFIG.replace("{id: left,", "{id: left, retries: 1,"))
    plan = make_plan()
    first = in_plan(plan, "left")
    Build.objects.filter(pk=first.pk).update(status="FAILED")
    with transaction.atomic():
        again = retry_build(build_id=first.pk, kind="exception")
    seen = rows(viewer.get(plan_page(plan)))
    assert f"tried again as build #{again.pk}" in seen[1]
    assert f"#{again.pk} of left" in seen[3]
    assert len(seen) == 6


def test_a_plan_whose_builds_are_gone_says_so(viewer):
    plan = Plan.objects.create(job_id="top")
    assert "All its builds were deleted" in text(viewer.get(plan_page(plan)))
    assert "no build of it is left" in text(viewer.get("/admin/builds/plan/"))


def test_a_plan_says_how_many_of_its_builds_were_deleted(viewer, failed):
    failed.builds.exclude(status="SUCCESSFUL").delete()
    for address in (plan_page(failed), "/admin/builds/plan/"):
        assert "2 successful, 3 deleted" in text(viewer.get(address))


def test_a_plan_that_is_not_there_is_no_error(viewer, builder):
    assert viewer.get("/admin/builds/plan/77/change/").status_code == 302
    assert viewer.get("/admin/builds/plan/x/change/").status_code == 302
    assert builder.post("/admin/builds/plan/77/cancel/").status_code == 404
    assert builder.get("/admin/builds/plan/77/resume/").status_code == 404


# --- The list -------------------------------------------------------------------------------------


def test_the_list_shows_states_and_finds_by_job(viewer, failed):
    other = make_plan(Dependencies.ALL, "right")
    page = text(viewer.get("/admin/builds/plan/"))
    assert f"Plan {failed.pk} failed 2 successful, 3 failed" in page
    assert f"Plan {other.pk} waiting" in page
    found = viewer.get("/admin/builds/plan/?q=right").context["cl"].result_list
    assert [plan.pk for plan in found] == [other.pk]
    assert viewer.get("/admin/builds/plan/?job__id__exact=top").context["cl"].result_count == 1


def test_the_list_asks_the_same_for_many_plans(viewer, django_assert_max_num_queries):
    for _ in range(20):
        make_plan()
    with django_assert_max_num_queries(15):
        viewer.get("/admin/builds/plan/")


def test_no_plan_yet(viewer):
    assert "There is no plan yet" in text(viewer.get("/admin/builds/plan/"))


# --- Builds and jobs know their plan --------------------------------------------------------------


def test_a_builds_page_shows_its_plan_what_it_waits_for_and_who_for_it(viewer):
    plan = make_plan()
    left, middle = in_plan(plan, "left"), in_plan(plan, "middle")
    page = viewer.get(page_of(left))
    assert f'href="{plan_page(plan)}"' in page.content.decode()
    seen = text(page)
    assert f"plan {plan.pk} (no successful build)" in seen
    assert f"Waits for #{in_plan(plan, 'base').pk} of The" in seen
    assert f"Waiting for it #{middle.pk} of middle (waiting) ; 2 builds in all" in seen


def test_the_pages_of_jobs_and_builds_name_the_plan(viewer):
    plan = make_plan()
    job = viewer.get(reverse("admin:jobs_job_change", args=["top"]))
    assert f'href="{plan_page(plan)}"' in job.content.decode()
    assert f"plan {plan.pk}" in text(viewer.get("/admin/builds/build/"))


def test_a_build_that_failed_with_another_leads_there(viewer, failed):
    left, middle, top = (in_plan(failed, name) for name in ("left", "middle", "top"))
    assert {middle.failure_kind, top.failure_kind} == {"upstream_failed"}
    page = viewer.get(page_of(middle))
    assert f"What failed: #{left.pk} of left (failed)" in text(page)
    assert f'href="{page_of(left)}"' in page.content.decode()
    seen = text(viewer.get(page_of(top)))
    assert f"What failed: #{middle.pk} of middle (failed)" in seen
    assert f"It began with #{left.pk} of left" in seen


# --- Cancelling -----------------------------------------------------------------------------------


def test_a_plan_is_cancelled_as_a_whole(builder):
    plan = make_plan()
    run(plan, "base")
    assert "Cancel this plan" in text(builder.get(plan_page(plan)))
    response = builder.post(cancel_of(plan), follow=True)
    assert "Cancelled, or told to stop" in text(response)
    assert dict(plan.builds.values_list("job", "status")) == {
        "base": "SUCCESSFUL", **dict.fromkeys(("left", "right", "middle", "top"), "CANCELLED")
    }  # fmt: skip
    assert in_plan(plan, "top").cancel_requested_by == builder.user
    assert LogEntry.objects.filter(change_message__contains="Asked to cancel").count() >= 2
    assert "Cancel this plan" not in text(response)
    assert "nothing was cancelled" in text(builder.post(cancel_of(plan), follow=True))


def test_a_branch_is_cancelled_with_one_build(builder):
    plan = make_plan()
    middle = in_plan(plan, "middle")
    seen = text(builder.get(page_of(middle)))
    assert "1 build that waits for it is cancelled with it" in seen
    left = in_plan(plan, "left")
    assert "2 builds that wait for it are cancelled with it" in text(builder.get(page_of(left)))
    cancel = reverse("admin:builds_build_cancel", args=[middle.pk])
    response = builder.post(cancel, {"back": "plan"}, follow=True)
    assert response.redirect_chain == [(plan_page(plan), 302)]
    states = dict(plan.builds.order_by("pk").values_list("job", "status"))
    assert {name for name, status in states.items() if status == "CANCELLED"} == {"middle", "top"}
    seen = dict(zip(states, rows(response), strict=True))
    for name, row in seen.items():
        assert (f"cancelled by {builder.user}" in row) == (states[name] == "CANCELLED")


def test_a_build_that_was_told_to_stop_says_so_while_it_runs(builder):
    plan = make_plan()
    base = in_plan(plan, "base")
    Build.objects.filter(pk=base.pk).update(status=Build.Status.RUNNING, start_time=now())
    cancel = reverse("admin:builds_build_cancel", args=[base.pk])
    first, *others = rows(builder.post(cancel, {"back": "plan"}, follow=True))
    assert f"told to stop by {builder.user}" in first
    assert not any("told to stop" in row for row in others)


def test_who_may_only_look_has_no_buttons(viewer, failed):
    other = make_plan()
    for plan in (failed, other):
        page = text(viewer.get(plan_page(plan)))
        assert "Cancel" not in page
        assert "Resume" not in page
        assert viewer.post(cancel_of(plan)).status_code == 403
        assert viewer.get(resume_of(plan)).status_code == 403
        assert viewer.post(resume_of(plan), {"step": "resume"}).status_code == 403


def test_who_may_not_see_plans_has_none_of_it(staff, failed):
    client = staff("jobs.view_job", "builds.view_build", "builds.run_build")
    for address in (plan_page(failed), "/admin/builds/plan/", resume_of(failed)):
        assert client.get(address).status_code == 403
    assert client.post(cancel_of(failed)).status_code == 403
    assert plan_page(failed) not in client.get(page_of(in_plan(failed, "top"))).content.decode()


# --- Resuming -------------------------------------------------------------------------------------


def planned(response):
    listed = re.search(r'<ol class="jc-plan">(.*?)</ol>', response.content.decode(), re.S)
    return re.findall(r"<bdi>(.*?)</bdi>", listed[1]) if listed else []


def test_resuming_shows_and_builds_again_what_did_not_succeed(builder, failed):
    use_config(MENDED)
    assert resume_of(failed) in builder.get(plan_page(failed)).content.decode()
    shown = builder.get(resume_of(failed))
    assert planned(shown) == ["left", "middle", "top"]
    base, right = in_plan(failed, "base"), in_plan(failed, "right")
    assert f"build #{base.pk} of base used as it is" in text(shown)
    assert f"build #{in_plan(failed, 'left').pk} failed" in text(shown)
    assert Plan.objects.count() == 1
    response = builder.post(resume_of(failed), {"step": "resume"}, follow=True)
    again = Plan.objects.latest("pk")
    assert response.redirect_chain == [(plan_page(again), 302)]
    assert again.resumes == failed
    assert set(again.builds.values_list("job", flat=True)) == {"left", "middle", "top"}
    assert in_plan(again, "top").inputs.get(job="right").dep_build == right
    assert f"Resumes plan {failed.pk}" in text(response)
    # Nothing that is merely missing or outdated is built: not what the first plan was asked for.
    assert f"asked for What did not succeed of plan {failed.pk} Graph" in text(response)
    assert f"Resumed by plan {again.pk}" in text(builder.get(plan_page(failed)))
    notes = LogEntry.objects.filter(change_message__contains=f"to resume plan {failed.pk}")
    assert set(notes.values_list("object_id", flat=True)) == {"left", "middle", "top"}


def test_a_plan_is_resumed_once(builder, failed):
    use_config(MENDED)
    builder.post(resume_of(failed), {"step": "resume"})
    again = Plan.objects.latest("pk")
    response = builder.post(resume_of(failed), {"step": "resume"}, follow=True)
    assert Plan.objects.count() == 2
    assert f"was resumed before, as plan {again.pk}" in text(response)
    assert resume_of(failed) not in response.content.decode()


def test_what_is_running_is_not_resumed(builder):
    plan = make_plan()
    assert resume_of(plan) not in builder.get(plan_page(plan)).content.decode()
    response = builder.get(resume_of(plan), follow=True)
    assert f"Plan {plan.pk} has not ended" in text(response)


def test_a_protected_job_is_resumed_when_armed(builder, manager, failed):
    use_config(GUARDED)
    assert "ask a manager" in text(builder.get(resume_of(failed)))
    refused = builder.post(resume_of(failed), {"step": "resume"})
    assert "protected" in text(refused)
    assert builder.post(resume_of(failed), {"step": "arm"}).status_code == 403
    assert builder.post(resume_of(failed), {"step": "start", "token": "x"}).status_code == 403
    assert Plan.objects.count() == 1
    armed = manager.post(resume_of(failed), {"step": "arm"})
    assert planned(armed) == ["left", "middle", "top"]
    token = re.search(r'name="token" value="([^"]+)"', armed.content.decode())[1]
    manager.post(resume_of(failed), {"step": "start", "token": token})
    again = Plan.objects.latest("pk")
    assert again.resumes == failed
    assert in_plan(again, "left").armed


def test_a_change_voids_the_arming_of_a_resumption(manager, failed):
    use_config(GUARDED)
    armed = manager.post(resume_of(failed), {"step": "arm"})
    token = re.search(r'name="token" value="([^"]+)"', armed.content.decode())[1]
    use_config(GUARDED.replace("{id: middle,", "{id: middle, kwargs: {x: 1},"))
    refused = manager.post(resume_of(failed), {"step": "start", "token": token})
    assert "what would run is not what was armed" in text(refused)
    assert "not armed" in text(manager.post(resume_of(failed), {"step": "start", "token": "x"}))
    assert Plan.objects.count() == 1


def test_what_is_pinned_in_the_file_stays_so_when_a_plan_is_resumed(builder):
    """The pinned build is used, though its job is built again in the same plan."""
    use_config(MENDED)
    old = build("base")
    pinned = MENDED.replace("{id: right,", f"{{id: right, pinned_builds: {{base: {old.pk}}},")
    value, failing = 'odd_jobs:value", args: [1]', 'odd_jobs:raise_", args: [ValueError]'
    use_config(pinned.replace(value, failing))
    plan = make_plan(Dependencies.ALL)
    run(plan, "base")
    assert in_plan(plan, "base").status == "FAILED"
    services.cancel_plan(plan=plan)
    builder.post(resume_of(plan), {"step": "resume"})
    again = Plan.objects.latest("pk")
    assert again.resumes == plan
    assert in_plan(again, "right").inputs.get().dep_build == old
    assert in_plan(again, "left").inputs.get().dep_build == in_plan(again, "base")
