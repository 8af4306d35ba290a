"""Building in the browser: ask for a build, watch it, read what it left behind."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Running, log_in
from tests.browser.steps import built, main_of, open_job, quick_build, status_of, wait_for_end


def test_a_person_logs_in_and_finds_the_jobs(contexts):
    page = contexts(user="").new_page()
    page.goto("/")
    expect(page).to_have_url(re.compile(r"/admin/login/"))
    log_in(page, "viewer")
    main_of(page).get_by_role("rowheader", name="Jobs", exact=True).get_by_role("link").click()
    row = page.get_by_role("row").filter(has_text="Count the shelves")
    expect(row).to_contain_text("stock")


def test_a_wrong_password_lets_nobody_in(contexts):
    page = contexts(user="").new_page()
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()


def test_a_build_is_started_by_one_click_and_watched_to_its_end(page: Page, running: Running):
    running.close_gate("shelves")
    open_job(page, "Count the shelves")
    quick_build(page)
    main = main_of(page)
    expect(main.get_by_text("Counting jars")).to_be_visible()
    assert status_of(page) == "RUNNING"
    expect(page.get_by_text("3/4 (75%)")).to_be_visible()
    # The branches are summed: 3 of 4 and 0 of 6.
    expect(page.get_by_text("3/10 (30%)")).to_be_visible()
    running.open_gate("shelves")
    wait_for_end(page, "SUCCESSFUL")
    expect(page.get_by_text("10/10 (100%)")).to_be_visible()
    expect(main).to_contain_text("{'jars': 4, 'boxes': 6}")


def test_progress_far_below_can_be_read_on_a_phone(page: Page):
    page.set_viewport_size({"width": 390, "height": 844})
    built(page, "Dig deep")
    names = page.locator(".jc-bar-name")
    expect(names).to_have_count(31)
    expect(names.last).to_have_text("Level 29")
    boxes = [box for box in (name.bounding_box() for name in names.all()) if box]
    assert len(boxes) == 31
    # Each in one line, and within the page.
    assert {round(box["height"]) for box in boxes} == {round(boxes[0]["height"])}
    assert max(box["x"] + box["width"] for box in boxes) < 390
    assert boxes[-1]["x"] > boxes[0]["x"]


def test_the_log_is_read_filtered_searched_and_downloaded(page: Page, running: Running):
    running.open_gate("shelves")
    built(page, "Count the shelves")
    expect(page.get_by_text("Opening the door")).to_be_visible()
    page.get_by_role("link", name="The whole log").click()
    expect(page.get_by_text("Opening the door")).to_be_visible()
    page.get_by_role("link", name="WARNING and up").click()
    expect(page.get_by_text("A jar is missing")).to_be_visible()
    expect(page.get_by_text("Opening the door")).to_have_count(0)
    page.get_by_role("link", name="Show all").click()
    page.get_by_label("Containing").fill("all is")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("All is counted")).to_be_visible()
    expect(page.get_by_text("A jar is missing")).to_have_count(0)
    page.get_by_role("link", name="Show all").click()
    with page.expect_download() as caught:
        page.get_by_role("link", name="text", exact=True).click()
    content = caught.value.path().read_text(encoding="utf-8")
    assert content.index("Opening the door") < content.index("All is counted")


def test_a_failure_shows_its_traceback_with_the_local_variables(page: Page):
    built(page, "Break a basket", "FAILED")
    traceback = page.get_by_role("region", name="Traceback")
    expect(traceback.get_by_text("ValueError: no pear in the basket")).to_be_visible()
    expect(traceback.get_by_text("KeyError: 'pear'")).to_be_visible()
    # The innermost frame of each exception is open, with its code and its variables.
    here = traceback.get_by_text('raise ValueError("no pear in the basket") from error')
    expect(here.first).to_be_visible()
    variable = traceback.get_by_role("row", name="basket").last
    expect(variable).to_contain_text("{'apple': 42}")
    expect(variable).to_be_visible()


def test_a_job_that_cannot_be_built_says_why_beside_its_button(page: Page):
    open_job(page, "Wait for a source that was never built")
    button = page.get_by_role("button", name="Build now")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(re.compile("never"))


def test_markup_in_titles_ids_and_arguments_is_text(page: Page):
    open_job(page, "<script>alert('title')</script>")
    expect(page.get_by_text('odd/id "<b>&é').first).to_be_visible()
    quick_build(page)
    wait_for_end(page, "FAILED")
    expect(page.get_by_text("<img src=x onerror=alert(1)>").first).to_be_attached()
    assert page.locator("img[src=x]").count() == 0


def test_a_build_is_started_with_the_keyboard_alone(page: Page):
    page.goto("/admin/jobs/job/?q=By+keyboard")
    link = page.get_by_role("link", name="By keyboard")
    press_until_focused(page, link)
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Build now")
    expect(button).to_be_visible()
    press_until_focused(page, button)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    wait_for_end(page, "SUCCESSFUL")


def press_until_focused(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("Tab does not lead there")


def test_the_main_flow_works_without_scripts(contexts, running: Running):
    page = contexts(user="", java_script_enabled=False).new_page()
    log_in(page, "operator")
    open_job(page, "Without a script")
    quick_build(page)
    wait_for_end(page, "SUCCESSFUL")
    expect(page.get_by_text("The number is 1").first).to_be_visible()
    built(page, "Break a basket", "FAILED")
    expect(page.get_by_text("ValueError: no pear in the basket").first).to_be_visible()


def test_the_names_of_columns_stand_whole_on_the_page_of_a_job(page: Page, history):
    page.set_viewport_size({"width": 820, "height": 900})  # a little wider than a phone
    page.goto("/admin/jobs/job/hopeless/change/")
    names = page.locator("#content thead th")
    assert names.count() > 10
    heights = {name.inner_text(): name.bounding_box()["height"] for name in names.all()}
    assert max(heights.values()) < 30, heights  # each in one line
