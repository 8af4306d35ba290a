"""The build form makes plans: what is built first and after, shown before, armed as a whole."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from builds import plan_form, services
from builds.forms import field_name
from builds.models import Build
from builds.plan_models import Plan
from builds.planning import Dependencies, Options
from jobcontrol.exceptions import InvalidRequest
from jobs.models import Job
from tests.support import pages
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
jobs:
  - {id: base, function: "tests.support.odd_jobs:value", args: [1]}
  - {id: left, function: "tests.support.odd_jobs:echo", dependencies: [base]}
  - {id: right, function: "tests.support.odd_jobs:echo", dependencies: [base]}
  - {id: top, function: "tests.support.odd_jobs:echo", dependencies: [left, right]}
  - {id: after, function: "tests.support.odd_jobs:echo", dependencies: [top]}
  - {id: last, function: "tests.support.odd_jobs:echo", dependencies: [after]}
"""
GUARDED = CONFIG.replace("{id: left,", "{id: left, protect: true,")


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)


@pytest.fixture
def manager(staff):
    return staff(
        *("jobs.view_job", "builds.view_build", "builds.view_plan"),
        *("builds.run_build", "builds.run_protected_build"),
    )


@pytest.fixture
def builder(staff):
    return staff("jobs.view_job", "builds.view_build", "builds.view_plan", "builds.run_build")


def text(response):
    return html.unescape(pages.text(response))


def form_of(job_id):
    return reverse("admin:jobs_job_build_form", args=[job_id])


def fields(job_id="top", **typed):
    """What the form sends as it is opened."""
    needs = Job.objects.get(pk=job_id).dependency_links.values_list("depends_on", flat=True)
    inputs = {field_name(name): "latest" for name in needs}
    return {"args": "", "kwargs": "", "nonce": "page", "first": "none", **inputs, **typed}


def send(client, job_id="top", step="build", **typed):
    return client.post(form_of(job_id), {**fields(job_id, **typed), "step": step}, follow=True)


def hidden(response):
    """The hidden fields of the armed page, to be sent back."""
    found = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', response.content.decode()):
        name = re.search(r'name="([^"]+)"', tag)[1]
        value = re.search(r'value="([^"]*)"', tag)
        found.setdefault(name, []).append(html.unescape(value[1]) if value else "")
    return found


def start(client, armed, job_id="top", **changed):
    return client.post(form_of(job_id), {**hidden(armed), "step": "start", **changed}, follow=True)


def planned(response):
    """The jobs that the page says would be built, in their order."""
    listed = re.search(r'<ol class="jc-plan">(.*?)</ol>', response.content.decode(), re.S)
    return re.findall(r"<bdi>(.*?)</bdi>", listed[1]) if listed else []


def made():
    return list(
        Build.objects.filter(plan__isnull=False).order_by("pk").values_list("job", flat=True)
    )


# --- What is built first --------------------------------------------------------------------------


def test_a_job_without_its_inputs_says_so_and_offers_to_build_them_first(builder):
    page = builder.get(form_of("top"))
    assert "It can’t be built by itself: no successful build of left , right" in text(page)
    link = re.search(r'<a href="([^"]*)">Build what is missing first', page.content.decode())[1]
    offered = builder.get(form_of("top") + link)
    assert planned(offered) == ["base", "left", "right", "top"]
    assert "It can’t be built by itself" not in text(offered)
    assert re.search(r'value="missing"[^>]* checked', offered.content.decode())


def test_what_is_missing_is_built_first_in_one_plan(builder):
    shown = send(builder, step="preview", first="missing")
    assert planned(shown) == ["base", "left", "right", "top"]
    assert "left no successful build; after base" in text(shown)
    assert "top asked for; after left, right" in text(shown)
    assert not Build.objects.exists()
    response = send(builder, first="missing")
    plan = Plan.objects.get()
    assert made() == ["base", "left", "right", "top"]
    assert plan.requested_by == builder.user
    assert response.redirect_chain == [(f"/admin/builds/plan/{plan.pk}/change/", 302)]
    waiting = Build.objects.waiting().values_list("job", flat=True)
    assert set(waiting) == {"left", "right", "top"}


def test_the_history_of_each_job_names_the_plan(builder):
    send(builder, first="missing")
    plan = Plan.objects.get()
    entries = {one.object_id: one.get_change_message() for one in LogEntry.objects.all()}
    assert set(entries) == {"base", "left", "right", "top"}
    assert entries["top"] == f"Asked for builds of 4 jobs by build form: plan {plan.pk}."
    assert entries["base"] == f"Asked for a build by build form, with 'top': plan {plan.pk}."


def test_without_a_choice_nothing_is_built_and_it_is_said_why(builder):
    assert "no successful build of 'left', 'right'" in text(send(builder))
    assert not Build.objects.exists()


def test_what_is_outdated_is_built_and_what_is_current_is_used(builder):
    build("base")
    left = build("left")
    base = build("base")
    right = build("right")
    shown = send(builder, step="preview", first="outdated")
    assert planned(shown) == ["left", "top"]
    assert f"newer build #{base.pk} of base" in text(shown)
    assert f"build #{right.pk} of right latest success" in text(shown)
    send(builder, first="outdated")
    assert made() == ["left", "top"]
    top = Build.objects.get(job="top")
    assert top.inputs.get(job="right").dep_build == right
    assert top.inputs.get(job="left").dep_build != left


def test_all_dependencies_are_built(builder):
    for name in ("base", "left", "right"):
        build(name)
    assert planned(send(builder, step="preview", first="all")) == ["base", "left", "right", "top"]


def test_one_dependency_is_built_now_and_another_is_an_earlier_build(builder):
    build("base")
    old = build("left")
    build("left")
    build("right")
    typed = {field_name("left"): str(old.pk), field_name("right"): "now"}
    shown = send(builder, step="preview", **typed)
    assert planned(shown) == ["right", "top"]
    assert f"build #{old.pk} of left chosen" in text(shown)
    assert "the build, made first, of right" in text(shown)
    send(builder, **typed)
    top = Build.objects.get(job="top")
    assert top.inputs.get(job="left").dep_build == old
    assert top.inputs.get(job="right").dep_build.status == "QUEUED"


def test_a_pin_of_the_file_gives_way_to_a_build_that_is_asked_for_now(builder):
    build("base")
    left, _ = build("left"), build("right")
    use_config(
        CONFIG.replace("[left, right]", f"[left, right], pinned_builds: {{left: {left.pk}}}")
    )
    send(builder, **{field_name("left"): "now"})
    assert made() == ["left", "top"]
    used = Build.objects.get(job="top").inputs.get(job="left").dep_build
    assert used == Build.objects.get(job="left", plan__isnull=False)


def test_what_blocks_a_plan_is_said(builder):
    use_config(CONFIG.replace("{id: left,", "{id: left, pinned_builds: {base: 999},"))
    shown = send(builder, step="preview", first="missing")
    assert "Can’t be built" in text(shown)
    assert "build #999 is not a successful build of 'base'" in text(shown)
    refused = send(builder, first="missing")
    assert "job 'top' can't be built" in text(refused).replace("Job", "job")
    assert not Build.objects.exists()


# --- What is built after it -----------------------------------------------------------------------


def test_jobs_that_use_it_are_chosen_with_what_lies_between(builder):
    for name in ("base", "left", "right", "top", "after", "last"):
        build(name)
    page = builder.get(form_of("base")).content.decode()
    for name in ("left", "right", "top", "after", "last"):
        assert re.search(rf'<input type="checkbox" name="after_jobs" value="{name}"', page)
    shown = send(builder, "base", "preview", after="chosen", after_jobs=["after"])
    assert planned(shown) == ["base", "left", "right", "top", "after"]
    assert re.search(r'name="after_jobs" value="after"[^>]* checked', shown.content.decode())
    assert planned(send(builder, "base", "preview", after="all"))[-1] == "last"
    send(builder, "base", after="chosen", after_jobs=["left"])
    assert made() == ["base", "left"]


@pytest.mark.parametrize("after", ["none", ""])
def test_boxes_without_their_choice_are_refused(builder, after):
    refused = send(builder, "base", after=after, after_jobs=["left"])
    assert "jobs are chosen below" in text(refused).lower()
    assert not Build.objects.exists()


def test_choosing_without_a_box_is_refused(builder):
    assert "choose at least one job" in text(send(builder, "base", after="chosen")).lower()
    assert not Build.objects.exists()


def test_a_job_that_nothing_uses_has_no_such_choice(builder):
    page = builder.get(form_of("last")).content.decode()
    assert 'name="after"' not in page
    assert 'name="first"' in page
    assert 'name="first"' not in builder.get(form_of("base")).content.decode()


def test_a_job_that_is_pinned_elsewhere_is_not_offered(builder):
    old = build("base")
    use_config(CONFIG.replace("{id: left,", f"{{id: left, pinned_builds: {{base: {old.pk}}},"))
    page = builder.get(form_of("base")).content.decode()
    assert 'name="after_jobs" value="left"' not in page
    assert 'name="after_jobs" value="top"' in page  # by way of the right one


def test_the_others_of_very_many_are_named_by_id(builder, monkeypatch):
    monkeypatch.setattr(plan_form, "OFFERED", 2)
    page = builder.get(form_of("base"))
    assert page.content.decode().count('name="after_jobs"') == 2
    assert "3 more use it" in text(page)
    typed = {"after": "chosen", "after_more": "top\r\n after \r\n"}
    shown = send(builder, "base", "preview", **typed)
    assert planned(shown) == ["base", "left", "right", "top", "after"]
    wrong = send(builder, "base", after="chosen", after_more="nobody\nbase")
    assert "is not used by 'nobody'" in text(wrong)
    assert not Build.objects.exists()


# --- Once, and armed as a whole -------------------------------------------------------------------


def test_a_double_click_makes_one_plan(builder):
    send(builder, first="missing")
    again = send(builder, first="missing")
    assert Plan.objects.count() == 1
    assert "Asked for by the same click before" in text(again)


def test_a_protected_job_anywhere_in_the_plan_needs_arming(builder, manager):
    use_config(GUARDED)
    for client, note in ((builder, "You may not arm"), (manager, "from there “Start” works")):
        shown = send(client, step="preview", first="missing")
        assert "A protected job is among these builds" in text(shown)
        assert note in text(shown)
        assert 'value="build"' not in shown.content.decode()
    refused = send(manager, first="missing")
    assert "protected" in text(refused)
    assert not Build.objects.exists()
    assert (
        builder.post(form_of("top"), {**fields(first="missing"), "step": "arm"}).status_code == 403
    )


def test_the_armed_page_shows_the_whole_plan_and_starts_it(manager):
    use_config(GUARDED)
    armed = send(manager, step="arm", first="missing")
    assert planned(armed) == ["base", "left", "right", "top"]
    # The call of the protected one stands there as well as the target's.
    assert [one.job.pk for one in armed.context["previews"]] == ["top", "left"]
    assert not Build.objects.exists()
    notes = LogEntry.objects.filter(change_message__contains="Armed a plan of 4 builds")
    assert set(notes.values_list("object_id", flat=True)) == {"top", "left"}
    start(manager, armed)
    assert made() == ["base", "left", "right", "top"]
    assert dict(Build.objects.values_list("job", "armed")) == {
        "base": False, "left": True, "right": False, "top": False
    }  # fmt: skip
    again = start(manager, armed)
    assert Plan.objects.count() == 1
    assert "Nothing more was started" in text(again)


CHANGES = {
    "another input": (lambda: build("base"), {}),
    "another configuration": (
        lambda: use_config(GUARDED.replace("{id: right,", "{id: right, kwargs: {x: 1},")),
        {},
    ),
    "a job less": (lambda: build("right"), {}),
    "other dependencies": (lambda: None, {"first": "all"}),
    "other arguments": (lambda: None, {"args": "[1]"}),
    "more after it": (lambda: None, {"after": "all"}),
    "another choice": (lambda: None, {field_name("right"): "now"}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_of_the_plan_voids_the_arming(manager, what):
    use_config(GUARDED)
    build("base")
    armed = send(manager, step="arm", first="missing")
    assert "Armed." in text(armed)
    change, typed = CHANGES[what]
    change()
    shown = start(manager, armed, **typed)
    assert "Not started: what would run is not what was armed" in text(shown)
    assert not Plan.objects.exists()


def test_a_token_for_one_build_starts_no_plan(manager):
    use_config(GUARDED.replace("{id: top,", "{id: top, protect: true,"))
    build("base")
    build("left")
    build("right")
    armed = send(manager, step="arm")
    assert "Armed." in text(armed)
    assert "not what was armed" in text(start(manager, armed, first="all"))
    assert not Build.objects.filter(job="top").exists()


def test_another_plan_than_was_looked_at_is_not_started():
    top = Job.objects.get(pk="top")
    wish = {"job": top, "trigger": "manual", "options": Options(dependencies=Dependencies.MISSING)}
    expected = services.plan_for(services.Request(**wish))
    build("base")
    with pytest.raises(InvalidRequest, match="has changed"):
        services.request_build(**wish, expected=expected)
    assert not Plan.objects.exists()


def test_an_armed_plan_is_not_for_another_person(manager, staff):
    use_config(GUARDED)
    other = staff("jobs.view_job", "builds.run_build", "builds.run_protected_build")
    armed = send(manager, step="arm", first="missing")
    assert "not what was armed" in text(start(other, armed))
    assert not Build.objects.exists()


def test_what_is_armed_can_be_changed_without_loss(manager):
    use_config(GUARDED)
    armed = send(manager, step="arm", first="missing", after="chosen", after_jobs=["after", "last"])
    back = manager.post(form_of("top"), {**hidden(armed), "step": "edit"})
    assert planned(back) == ["base", "left", "right", "top", "after", "last"]
    assert back.content.decode().count(" checked") == 4


# --- Large graphs ---------------------------------------------------------------------------------


def test_a_thousand_jobs_that_use_it_take_a_bounded_number_of_questions(
    builder, django_assert_max_num_queries
):
    jobs = "\n".join(
        f"  - {{id: user-{n}, function: 'tests.support.odd_jobs:echo', dependencies: [base]}}"
        for n in range(1_000)
    )
    use_config(CONFIG + jobs)
    builder.get(form_of("base"))
    with django_assert_max_num_queries(30):
        page = builder.get(form_of("base")).content.decode()
    assert page.count('name="after_jobs"') == plan_form.OFFERED
    assert len(page) < 100_000
    with django_assert_max_num_queries(40):
        shown = send(builder, "base", "preview", after="all")
    assert "1006 builds in all" in text(shown)
    with django_assert_max_num_queries(150):
        response = send(builder, "base", after="all")
    plan = Plan.objects.get()
    assert plan.builds.count() == 1_006
    assert "All 1006 builds of it in the list of builds" in text(response)


def test_a_job_with_more_than_a_thousand_dependencies_can_be_built_from_the_form(builder):
    names = [f"need-{number}" for number in range(1_100)]
    jobs = [f"  - {{id: {name}, function: 'tests.support.odd_jobs:value'}}" for name in names]
    last = f"  - {{id: all, function: 'tests.support.odd_jobs:value', dependencies: {names}}}"
    use_config("\n".join(["jobs:", *jobs, last]))
    assert send(builder, "all", first="missing").status_code == 200
    assert Plan.objects.get().builds.count() == 1_101
