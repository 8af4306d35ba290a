"""Protected jobs: looked at, armed by a second click, started for a minute and once."""

import html
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core import signing
from django.test import Client
from django.urls import reverse

from builds import services
from builds.forms import field_name
from builds.models import Build
from builds.token_models import UsedNonce
from jobcontrol.exceptions import InvalidRequest
from tests.support.jobs import build, use_config

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
secret: {api: hunter22-secret}
jobs:
  - {id: dep, function: "tests.support.odd_jobs:value", args: [one]}
  - id: danger
    title: The <dangerous> one
    protect: true
    function: tests.support.odd_jobs:echo
    args: [!retval dep, !secret api]
  - {id: purge, protect: true, function: "tests.support.odd_jobs:echo", kwargs: {all: true}}
  - {id: blocked, protect: true, function: "tests.support.odd_jobs:echo", dependencies: [plain]}
  - {id: plain, function: "tests.support.odd_jobs:echo"}
"""
FORM = "/admin/jobs/job/danger/build-form/"
SEVERAL = "/admin/jobs/job/arm/"
LIST = "/admin/jobs/job/"
RIGHTS = ("jobs.view_job", "builds.view_build", "builds.run_build", "builds.run_protected_build")


@pytest.fixture(autouse=True)
def config(transactional_db):
    use_config(CONFIG)
    return build("dep")


@pytest.fixture
def manager(staff):
    return staff(*RIGHTS)


def text(response):
    assert response.status_code == 200
    page = re.sub(r"<(style|script|svg).*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def hidden(response):
    """The hidden fields of the page, as a browser would send them."""
    found: dict[str, list[str]] = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', response.content.decode()):
        name = re.search(r'name="([^"]+)"', tag)[1]
        value = re.search(r'value="([^"]*)"', tag)
        found.setdefault(name, []).append(html.unescape(value[1]) if value else "")
    found.pop("csrfmiddlewaretoken", None)
    return found


INPUT = field_name("dep")


def fields(**typed):
    """What the form of `danger` sends."""
    latest = Build.objects.filter(job="dep").latest("pk").pk
    args = "- !retval dep\r\n- !secret api"
    return {"args": args, "kwargs": "", "nonce": "page", INPUT: latest, **typed}


def arm(client, **typed):
    return client.post(FORM, {**fields(**typed), "step": "arm"})


def start(client, armed, url=FORM, **changed):
    return client.post(url, {**hidden(armed), "step": "start", **changed}, follow=True)


def protected_builds():
    return Build.objects.filter(job__protected=True)


# --- One job --------------------------------------------------------------------------------------


def test_the_form_shows_what_will_run_before_anything_can_be_armed(manager, config):
    page = manager.get(FORM)
    seen = text(page)
    assert seen.index("What will run") < seen.index("Positional arguments")
    assert "echo(Retval('dep'), Secret('api'))" in seen
    assert f"build #{config.pk} of dep" in seen
    assert "- !secret api" in seen
    assert "hunter22" not in page.content.decode()
    assert "<dangerous>" not in page.content.decode()
    assert re.search(r'<button type="button"[^>]* disabled[^>]*>Start</button>', str(page.content))


def test_armed_it_is_shown_again_and_starts(manager, config):
    armed = arm(manager)
    seen = text(armed)
    assert "echo(Retval('dep'), Secret('api'))" in seen
    assert f"build #{config.pk} of dep" in seen
    assert "works for 60 seconds" in seen
    assert re.search(r'value="start"[^>]*>Start', armed.content.decode())
    assert "disabled" not in re.search(r'<button[^>]*value="start"[^>]*>', str(armed.content))[0]
    assert not protected_builds().exists()
    response = start(manager, armed)
    made = protected_builds().get()
    assert response.redirect_chain == [(f"/admin/builds/build/{made.pk}/change/", 302)]
    assert (made.status, made.armed, made.requested_by) == ("QUEUED", True, manager.user)
    notes = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert notes[0].startswith("Armed a build")
    assert f"build #{made.pk}" in notes[1]
    assert "armed" in notes[1]
    assert {entry.user for entry in LogEntry.objects.all()} == {manager.user}


def test_what_was_typed_is_what_is_armed_and_started(manager):
    armed = arm(manager, args="[typed]", kwargs="a: <b>")
    assert "echo('typed', a='<b>')" in text(armed)
    start(manager, armed)
    assert protected_builds().get().payload.config["args"] == ["typed"]


@pytest.mark.parametrize(
    ("typed", "error"), [({"args": "["}, "Line 2"), ({"kwargs": "- 1"}, "must be a mapping")]
)
def test_what_is_typed_wrong_is_not_armed(manager, typed, error):
    response = arm(manager, **typed)
    assert error in text(response)
    assert "token" not in hidden(response)


def test_without_a_token_nothing_starts(manager):
    for token in ({}, {"token": ""}, {"token": "made up"}, {"token": "\0"}):
        sent = fields(step="start", **token)
        assert "this is not armed. Arm it first." in text(manager.post(FORM, sent))
    assert not protected_builds().exists()


def test_a_token_is_good_for_a_minute(manager, monkeypatch):
    armed = arm(manager, args="[kept <b>]")
    real = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: real + 61)
    response = start(manager, armed)
    assert "older than 60 seconds. Arm it again." in text(response)
    assert "[kept &lt;b&gt;]" in response.content.decode()
    assert not protected_builds().exists()


@pytest.mark.parametrize("changed", [{"args": "[other]"}, {"kwargs": "other: 1"}])
def test_other_content_than_was_armed_is_refused_and_kept(manager, changed):
    response = start(manager, arm(manager, args="[kept]"), **changed)
    assert "not what was armed" in text(response)
    assert next(iter(changed.values())) in response.content.decode()
    assert not protected_builds().exists()
    # Nothing is wrong with what was typed: what it would run is there to be looked at.
    assert "other" in response.context["preview"].call
    assert "not right yet" not in text(response)


def test_another_input_than_was_armed_is_refused(manager):
    armed = arm(manager)
    newer = build("dep")
    assert "not what was armed" in text(start(manager, armed, **{INPUT: newer.pk}))
    assert not protected_builds().exists()


def test_a_configuration_that_changed_since_is_refused(manager):
    armed = arm(manager)
    use_config(CONFIG.replace("title: The <dangerous> one", "title: Another"))
    assert "not what was armed" in text(start(manager, armed))
    assert not protected_builds().exists()


def test_a_job_that_was_retired_since_is_neither_armed_nor_started(manager):
    armed = arm(manager)
    use_config(CONFIG.replace("id: danger", "id: other"))
    again = manager.post(FORM, {**hidden(armed), "step": "arm"})
    assert "no longer in the configuration file" in text(again)
    assert "token" not in hidden(again)
    assert "no longer in the configuration file" in text(start(manager, armed))
    assert not protected_builds().exists()


def test_a_double_click_starts_once(manager):
    armed = arm(manager)
    start(manager, armed)
    made = protected_builds().get()
    response = start(manager, armed)
    assert response.redirect_chain == [(f"/admin/builds/build/{made.pk}/change/", 302)]
    assert "used before" in text(response)
    assert protected_builds().count() == 1
    assert LogEntry.objects.count() == 2


def test_a_token_is_not_used_for_another_page(manager):
    armed = arm(manager)
    start(manager, armed)
    response = start(manager, armed, nonce="another")
    assert "this arming was used before. Arm it again." in text(response)
    assert protected_builds().count() == 1


def test_another_person_or_session_cannot_use_it(manager, staff):
    armed = arm(manager)
    other = staff(*RIGHTS)
    assert "not what was armed" in text(start(other, armed))
    again = Client()
    again.force_login(manager.user)
    assert "not what was armed" in text(start(again, armed))
    assert not protected_builds().exists()


def test_a_refused_start_uses_nothing_up(manager):
    armed = arm(manager)
    Build.objects.filter(job="dep").update(deleting=True)
    assert "is not a successful build of 'dep'" in text(start(manager, armed))
    Build.objects.filter(job="dep").update(deleting=False)
    start(manager, armed)
    assert protected_builds().count() == 1


def test_what_is_armed_can_be_changed_without_loss(manager):
    armed = arm(manager, args="[typed, <b>]")
    response = manager.post(FORM, {**hidden(armed), "step": "edit"})
    assert "[typed, &lt;b&gt;]</textarea>" in response.content.decode()
    assert not protected_builds().exists()


def test_who_may_run_but_not_arm_is_refused(builder):
    page = builder.get(FORM)
    assert "You may not arm protected jobs" in text(page)
    assert re.search(r'value="arm"[^>]* disabled', page.content.decode())
    for step in ("arm", "start"):
        assert builder.post(FORM, {"step": step, "args": "[1]"}).status_code == 403
    assert builder.get(SEVERAL, {"job": "danger"}).status_code == 403
    assert builder.post(SEVERAL, {"job": "danger", "step": "arm"}).status_code == 403
    assert "arm_selected" not in builder.get(LIST).content.decode()


def test_arming_without_running_is_not_enough(staff):
    client = staff("jobs.view_job", "builds.run_protected_build")
    assert client.post(FORM, {"step": "arm"}).status_code == 403
    assert client.get(SEVERAL, {"job": "danger"}).status_code == 403


def test_every_other_way_refuses_and_shows_where_to_arm(manager):
    quick = reverse("admin:jobs_job_build", args=["danger"])
    response = manager.post(quick, follow=True)
    assert f'href="{FORM}"' in response.content.decode()
    assert "protected" in text(response)
    selected = {"action": "build_selected", "_selected_action": ["danger", "purge", "plain"]}
    response = manager.post(LIST, selected, follow=True)
    assert f'href="{SEVERAL}?job=danger&amp;job=purge"' in response.content.decode()
    assert not protected_builds().exists()
    assert Build.objects.filter(job="plain").count() == 1


# --- Several --------------------------------------------------------------------------------------


def test_several_are_armed_and_started_together(manager, config):
    chosen = {"action": "arm_selected", "_selected_action": ["danger", "purge", "plain", "blocked"]}
    page = manager.post(LIST, chosen)
    seen = text(page)
    assert "echo(Retval('dep'), Secret('api'))" in seen
    assert "echo(all=True)" in seen
    assert "Left out: job 'blocked' can't be built: no successful build of 'plain'" in seen
    assert hidden(page)["job"] == ["danger", "purge"]
    assert "token" not in hidden(page)
    armed = manager.post(SEVERAL, {**hidden(page), "step": "arm"})
    assert "Start 2 builds" in text(armed)
    assert not protected_builds().exists()
    response = start(manager, armed, SEVERAL)
    assert {made.job_id for made in protected_builds()} == {"danger", "purge"}
    assert all(made.armed for made in protected_builds())
    assert protected_builds().get(job="danger").inputs.get().dep_build == config
    assert response.redirect_chain == [(LIST, 302)]
    assert "Queued: build" in text(response)
    assert LogEntry.objects.count() == 4
    told = LogEntry.objects.filter(object_id="purge").values_list("change_message", flat=True)
    assert any("Armed a build, with 1 other job, to be started" in line for line in told)


def test_one_that_is_armed_there_is_told_of_alone(manager):
    manager.post(SEVERAL, {"job": ["purge"], "step": "arm"})
    entry = LogEntry.objects.get()
    assert entry.change_message == "Armed a build to be started within a minute."


def test_several_are_started_all_or_none(manager):
    armed = manager.post(SEVERAL, {"job": ["danger", "purge"], "step": "arm", "nonce": "x"})
    for changed in ({"job": ["danger"]}, {"token": ""}):
        response = start(manager, armed, SEVERAL, **changed)
        assert "Not started" in text(response)
    newer = build("dep")
    response = start(manager, armed, SEVERAL)
    assert "not what was armed" in text(response)
    assert f"build #{newer.pk} of dep" in text(response)
    assert not protected_builds().exists()
    assert not UsedNonce.objects.filter(nonce__startswith="arming:").exists()


def test_when_one_of_several_fails_none_starts_and_the_arming_stays_good(manager, monkeypatch):
    armed = manager.post(SEVERAL, {"job": ["danger", "purge"], "step": "arm", "nonce": "x"})
    real = services.request_build

    def request_build(**wish):
        if wish["job"].pk == "purge":
            raise InvalidRequest("not now")
        return real(**wish)

    monkeypatch.setattr(services, "request_build", request_build)
    assert "Nothing was started: not now" in text(start(manager, armed, SEVERAL))
    assert not protected_builds().exists()
    monkeypatch.undo()
    start(manager, armed, SEVERAL)
    assert protected_builds().count() == 2


def test_several_started_twice_start_once(manager):
    armed = manager.post(SEVERAL, {"job": ["danger", "purge"], "step": "arm", "nonce": "x"})
    start(manager, armed, SEVERAL)
    response = start(manager, armed, SEVERAL)
    assert "used before" in text(response)
    assert protected_builds().count() == 2


@pytest.mark.parametrize("jobs", [[], ["plain"], ["nope", "\0"], ["x" * 5000], ["blocked"]])
def test_nothing_to_arm_leads_back_to_the_list(manager, jobs):
    for response in (
        manager.get(SEVERAL, {"job": jobs}, follow=True),
        manager.post(SEVERAL, {"job": jobs, "step": "start"}, follow=True),
    ):
        assert response.redirect_chain == [(LIST, 302)]
        assert re.search("no protected job was chosen|can't be built", text(response), re.I)


def test_a_stranger_is_led_to_the_login(client):
    for url in (FORM, SEVERAL):
        assert "login" in client.get(url).headers["Location"]
        assert "login" in client.post(url, {"step": "start"}).headers["Location"]


def test_until_when_it_is_armed_is_said_in_the_sites_time(manager):
    armed = arm(manager)
    until = armed.context["until"]
    left = until - Build.objects.latest("pk").created
    assert timedelta(seconds=55) < left < timedelta(minutes=5)
    assert f'datetime="{until.isoformat()[:19]}' in armed.content.decode()
