"""The protected job: it starts when it was armed, and in no other way."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import choose_action, main_of, open_job, wait_for_end

TITLE = "Deploy the number"
FORM = "/admin/jobs/job/deploy/build-form/"

# Runs in the site: a token for what the form asks for, made when the clock was a minute behind.
OLD_TOKEN = """
import time
from unittest import mock
from django.contrib.auth.models import User
from builds import arming
from builds.services import Request
from jobs.models import Job

now = time.time()
with mock.patch("time.time", lambda: now - arming.ARMING_SECONDS - {late}):
    print(arming.make_token(
        user=User.objects.get(username="admin"),
        session_key={session!r},
        requests=[Request(job=Job.objects.get(id="deploy"), trigger="manual")],
    ))
"""


def builds_of(page: Page) -> int:
    """Count the builds of the protected job, whatever this page shows."""
    answer = page.request.get("/api/build/?job=deploy")
    assert answer.ok, answer.text()
    return len(answer.json())


def arm(page: Page) -> None:
    """Go from the job's page to the armed one."""
    open_job(page, TITLE)
    page.get_by_role("link", name="Arm…").click()
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_role("button", name="Arm").click()
    expect(page.get_by_text("Armed.")).to_be_visible()


def post(page: Page, address: str, **form: str) -> tuple[int, str]:
    """Send a form as a script would that has the session and the CSRF token."""
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    token = cookies["csrftoken"]
    answer = page.request.post(address, form={"csrfmiddlewaretoken": token, **form})
    return answer.status, answer.text()


def test_no_way_that_is_not_armed_starts_it(page: Page, running: Running):
    before = builds_of(page)
    open_job(page, TITLE)
    button = page.get_by_role("button", name="Build now")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(re.compile("protected"))

    page.goto("/admin/jobs/job/")
    row = page.get_by_role("row").filter(has_text=TITLE)
    expect(row.get_by_role("button")).to_have_count(0)
    row.get_by_role("checkbox").check()
    choose_action(page, "Build selected jobs")
    expect(page.get_by_text("Not started: job deploy is protected.")).to_be_visible()

    # The disabled buttons, pressed all the same.
    page.goto(FORM)
    forged = "x:1abc:y"
    for address, form, words in (
        ("/admin/jobs/job/deploy/build/", {}, "is protected"),
        (FORM, {"step": "build", "args": "[7]"}, "protected"),
        (FORM, {"step": "start", "args": "[7]"}, "not armed"),
        (FORM, {"step": "start", "args": "[7]", "token": forged}, "not armed"),
        ("/admin/jobs/job/arm/", {"step": "start", "job": "deploy"}, "not armed"),
    ):
        status, text = post(page, address, **form)
        assert status == 200, (address, form, status)
        assert words in text, (address, form)
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    answer = page.request.post(
        "/api/job/deploy/run", data={}, headers={"X-CSRFToken": cookies["csrftoken"]}
    )
    assert answer.status == 403, answer.text()
    assert "protected" in answer.text()
    refused = running.site.manage("build_job", "deploy", "--queue")
    assert refused.returncode == 2
    assert builds_of(page) == before


def test_who_may_not_arm_is_told_so(contexts):
    page = contexts(user="operator").new_page()
    before = builds_of(page)
    open_job(page, TITLE)
    expect(page.get_by_role("button", name="Arm…")).to_be_disabled()
    expect(main_of(page).get_by_text("ask a manager").first).to_be_visible()
    page.goto(FORM)
    expect(page.get_by_role("button", name="Arm")).to_be_disabled()
    for step in ("arm", "start"):
        status, _ = post(page, FORM, step=step, args="[7]")
        assert status == 403, step
    assert builds_of(page) == before


def test_it_is_armed_and_started_once(contexts):
    page = contexts(user="manager").new_page()
    before = builds_of(page)
    arm(page)
    expect(main_of(page)).to_contain_text("number(7)")
    token = page.locator("input[name=token]").input_value()
    page.get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    wait_for_end(page, "SUCCESSFUL")
    expect(main_of(page)).to_contain_text("armed")
    status, text = post(page, FORM, step="start", args="- 7\n", token=token, nonce="another")
    assert status == 200
    assert "used before" in text
    assert builds_of(page) == before + 1
    # Who did it stands in the job's history.
    open_job(page, TITLE)
    page.get_by_role("link", name="History").click()
    line = page.get_by_role("row").filter(has_text=", armed").first
    expect(line).to_contain_text("manager")


def test_what_was_changed_after_the_arming_does_not_start(page: Page):
    before = builds_of(page)
    arm(page)
    page.locator("input[name=args]").evaluate("field => { field.value = '[8]' }")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("what would run is not what was armed")).to_be_visible()
    assert builds_of(page) == before


def old_token(context: BrowserContext, running: Running, late: int) -> str:
    """Return a token of this session that has expired for `late` seconds."""
    session = next(one["value"] for one in context.cookies() if one["name"] == "sessionid")
    return running.site.python(OLD_TOKEN.format(session=session, late=late)).strip()


def test_an_arming_that_is_over_does_not_start_it(page: Page, running: Running):
    before = builds_of(page)
    arm(page)
    field = page.locator("input[name=token]")
    # Made in the same way, but in time: it is the age alone that is refused below.
    good = old_token(page.context, running, -50)
    field.evaluate("(field, token) => { field.value = token }", good)
    page.get_by_role("button", name="Start").click()
    wait_for_end(page, "SUCCESSFUL")

    arm(page)
    field.evaluate("(f, token) => { f.value = token }", old_token(page.context, running, 1))
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("older than 60 seconds")).to_be_visible()
    assert builds_of(page) == before + 1


def test_the_page_says_when_the_arming_is_over(page: Page):
    page.clock.install()
    arm(page)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    page.clock.run_for(61_000)
    expect(page.get_by_text("The arming is over")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_role("button", name="Arm again").click()
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


def test_start_is_in_sight_however_long_the_page_is(page: Page):
    page.set_viewport_size({"width": 390, "height": 320})
    arm(page)
    expect(page.get_by_text("Armed.")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Start")).to_be_in_viewport()


def test_it_is_armed_and_started_without_scripts(contexts):
    page = contexts(java_script_enabled=False).new_page()
    before = builds_of(page)
    arm(page)
    page.get_by_role("button", name="Start").click()
    wait_for_end(page, "SUCCESSFUL")
    assert builds_of(page) == before + 1
