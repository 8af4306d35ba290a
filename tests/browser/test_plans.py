"""Plans in the browser: made by the form, watched, cancelled in part, resumed, armed."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import main_of, open_job, reload_until

PLAN = re.compile(r"/builds/plan/\d+/change/")


def open_form(page: Page, title: str) -> None:
    """Go to the build form from the job's page."""
    open_job(page, title)
    page.get_by_role("link", name="Build with other inputs…").click()


def start(page: Page, title: str) -> None:
    """Build a job of which nothing was built, by the form's own offer; the plan is shown."""
    open_form(page, title)
    page.get_by_role("link", name="Build what is missing first").click()
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page).to_have_url(PLAN)


def state_of(page: Page) -> str:
    """Return the state that a plan's page shows."""
    return page.locator("#content .jc-badge").first.inner_text().lower()


def wait_for_plan(page: Page, state: str) -> None:
    """Look at a plan's page until it is as it should be."""
    reload_until(page, lambda: state_of(page) == state)


def row_of(page: Page, title: str):
    """Return the row of a job in the plan's table."""
    return page.locator("#builds").get_by_role("row").filter(has_text=title)


def test_three_levels_that_were_never_built_are_built_by_the_form(page: Page):
    open_form(page, "Put a roof on")
    expect(page.get_by_text("It can’t be built by itself")).to_be_visible()
    page.get_by_label("dependencies without a successful build").check()
    page.get_by_role("button", name="Show what would run").click()
    planned = page.locator(".jc-plan li")
    expect(planned).to_have_count(3)
    expect(planned.nth(0)).to_contain_text("stones")
    expect(planned.nth(2)).to_contain_text("after walls, stones")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page).to_have_url(PLAN)
    wait_for_plan(page, "success")
    expect(page.get_by_text("3 successful", exact=True)).to_be_visible()
    expect(page.locator(".jc-graph-svg .jc-node-successful")).to_have_count(3)
    page.locator(".jc-graph-svg").get_by_role("link").filter(has_text="walls").first.click()
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    main_of(page).get_by_role("link", name=re.compile("^plan ")).click()
    expect(page).to_have_url(PLAN)


def test_a_plan_of_which_a_branch_failed_is_resumed(page: Page, running: Running):
    running.close_gate("oven")
    start(page, "Sell the house")
    wait_for_plan(page, "failed")
    expect(row_of(page, "Dry tiles")).to_contain_text(re.compile("successful", re.I))
    expect(row_of(page, "Heat the oven")).to_contain_text("the oven is cold")
    expect(row_of(page, "Sell the house")).to_contain_text(re.compile("failed", re.I))
    row_of(page, "Sell the house").get_by_role("link", name=re.compile("#")).first.click()
    expect(page.get_by_text("What failed:")).to_be_visible()
    page.go_back()
    running.open_gate("oven")
    page.get_by_role("link", name="Resume…").click()
    expect(page.locator(".jc-plan li")).to_have_count(2)
    page.get_by_role("button", name="Resume").click()
    expect(page).to_have_url(PLAN)
    wait_for_plan(page, "success")
    expect(page.locator("#builds tbody tr")).to_have_count(2)
    page.reload()  # of a plan that has ended: from now on nothing on the page moves
    page.get_by_role("link", name=re.compile("^plan ")).first.click()
    expect(page.get_by_text("Resumed by")).to_be_visible()
    expect(page.get_by_role("link", name="Resume…")).to_have_count(0)


def test_a_branch_is_cancelled_and_the_rest_goes_on(page: Page, running: Running):
    running.close_gate("river")
    start(page, "Bake bread")
    row_of(page, "Grind at the mill").get_by_role("button", name="Cancel").click()
    expect(row_of(page, "Grind at the mill")).to_contain_text(re.compile("cancelled", re.I))
    expect(row_of(page, "Bake bread")).to_contain_text(re.compile("cancelled", re.I))
    running.open_gate("river")
    wait_for_plan(page, "cancelled")
    expect(page.get_by_text("1 successful, 2 cancelled", exact=True)).to_be_visible()


def test_a_plan_with_a_protected_job_starts_when_it_was_armed(page: Page):
    open_form(page, "Count the coins")
    page.get_by_role("link", name="Build what is missing first").click()
    expect(page.get_by_role("button", name="Build", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_role("button", name="Arm", exact=True).click()
    expect(page.get_by_text("Armed.")).to_be_visible()
    expect(page.locator(".jc-plan li")).to_have_count(2)
    page.get_by_role("button", name="Start 2 builds").dblclick()
    expect(page).to_have_url(PLAN)
    wait_for_plan(page, "success")
    expect(page.locator("#builds tbody tr")).to_have_count(2)


def test_a_plan_is_made_and_read_without_scripts_on_a_phone(contexts):
    options = {"java_script_enabled": False, "viewport": {"width": 390, "height": 844}}
    page = contexts(**options).new_page()
    open_form(page, "Twice the number")
    for choice in page.locator(".jc-boxes label").all():
        box, name = (choice.locator(part).bounding_box() for part in ("input", "bdi"))
        assert box["width"] < 30
        assert name["x"] - box["x"] - box["width"] < 20  # side by side
    page.get_by_label("all dependencies, direct or not").check()
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page).to_have_url(PLAN)
    wait_for_plan(page, "success")
    expect(row_of(page, "Twice the number")).to_contain_text("asked for")
