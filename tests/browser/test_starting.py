"""The build form: other arguments, other inputs, running again, and starting more at once."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.steps import build_number, built, choose_action, main_of, open_job, wait_for_end


def open_form(page: Page, title: str) -> None:
    open_job(page, title)
    page.get_by_role("link", name="Build with other inputs…").click()
    expect(page.get_by_label("Positional arguments")).to_be_visible()


def press_build(page: Page, status: str = "SUCCESSFUL") -> None:
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    wait_for_end(page, status)


def test_arguments_are_overridden_for_one_build(page: Page):
    open_form(page, "Override me")
    page.get_by_label("Positional arguments").fill("[ab]")
    page.get_by_label("Named arguments").fill("times: 3")
    press_build(page)
    expect(page.get_by_role("region", name="Return value")).to_contain_text("'ababab'")
    differs = page.get_by_role("region", name="Configuration of this build")
    expect(differs).to_contain_text("times: 3")
    expect(differs).to_contain_text("What is different today")
    # The job is as it was.
    built(page, "Override me")
    expect(page.get_by_role("region", name="Return value")).to_contain_text("1")


def test_arguments_that_do_not_fit_are_refused_with_what_is_wrong(page: Page):
    open_form(page, "Override me")
    page.get_by_label("Named arguments").fill("colour: red")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(main_of(page).get_by_text("colour").first).to_be_visible()
    page.get_by_label("Positional arguments").fill("[1, 2")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(main_of(page).get_by_text(re.compile("line 1", re.I)).first).to_be_visible()
    expect(page.get_by_label("Positional arguments")).to_have_value("[1, 2")


def test_an_older_build_of_a_dependency_is_pinned(page: Page):
    first = built(page, "A number to start from")
    open_form(page, "A number to start from")
    page.get_by_label("Positional arguments").fill("[50]")
    press_build(page)
    second = build_number(page)

    open_form(page, "Twice the number")
    choice = page.get_by_label("Build of A number to start from")
    expect(choice).to_have_value("latest")
    expect(choice.locator("option").first).to_have_text(re.compile(f"latest success: #{second} "))
    choice.select_option(str(first))
    press_build(page)
    expect(page.get_by_role("region", name="Return value")).to_contain_text("2")
    main = main_of(page)
    expect(main.get_by_role("link", name=f"#{first}", exact=True)).to_be_visible()
    pinned = build_number(page)

    # It is outdated from the start, and says why.
    open_job(page, "Twice the number")
    expect(page.get_by_text(f"newer build #{second} of source").first).to_be_visible()

    # The input tells who used it.
    page.goto(f"/admin/builds/build/{first}/change/")
    expect(main_of(page).get_by_role("link", name=f"#{pinned}", exact=True)).to_be_visible()

    # Run again: the same input is chosen, not the latest.
    page.goto(f"/admin/builds/build/{pinned}/change/")
    page.get_by_role("link", name="Run again").click()
    choice = page.get_by_label("Build of A number to start from")
    expect(choice).to_have_value(str(first))
    press_build(page)
    assert build_number(page) > pinned
    expect(page.get_by_role("region", name="Return value")).to_contain_text("2")


def test_jobs_are_filtered_by_menus_that_close_as_menus_do(page: Page):
    page.goto("/admin/jobs/job/")
    menu = page.get_by_role("group").filter(has_text="Protected")
    opener = menu.locator("summary")
    choice = menu.get_by_role("link", name="Yes")
    opener.press("Enter")
    expect(choice).to_be_visible()
    choice.press("Escape")
    expect(choice).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    expect(choice).to_be_visible()
    page.get_by_role("heading", name="Jobs", exact=True).last.click()
    expect(choice).to_be_hidden()
    opener.click()
    choice.click()
    expect(page.get_by_role("row").filter(has_text="Deploy the number")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Twice the number")).to_have_count(0)
    page.get_by_role("link", name="Show all jobs").click()
    expect(page.get_by_role("row").filter(has_text="Twice the number")).to_be_visible()


def test_several_jobs_are_started_at_once(page: Page):
    page.goto("/admin/jobs/job/")
    for title in ("Without a script", "By keyboard"):
        page.get_by_role("row").filter(has_text=title).get_by_role("checkbox").check()
    choose_action(page, "Build selected jobs")
    told = page.get_by_text(re.compile(r"Queued: build #\d+ of plain, #\d+ of keys"))
    expect(told).to_be_visible()


def test_a_double_click_starts_one_build(page: Page):
    def count() -> int:
        return len(page.request.get("/api/build/?job=twice").json())

    before = count()
    open_job(page, "Clicked in haste")
    page.get_by_role("button", name="Build now").dblclick()
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    wait_for_end(page, "SUCCESSFUL")
    assert count() == before + 1
