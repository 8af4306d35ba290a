"""The overview while it is open: what runs moves on, and what fails appears."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Running, log_in
from tests.browser.steps import build_number, main_of, open_job, quick_build
from tests.browser.test_live import assert_not_loaded_again, mark


def started(page: Page, title: str) -> int:
    open_job(page, title)
    quick_build(page)
    return build_number(page)


def part(page: Page, name: str):
    return main_of(page).get_by_role("region", name=name)


def test_the_bar_of_a_running_build_moves_until_it_ends(page: Page, running: Running):
    for gate in ("tables-half", "tables"):
        running.close_gate(gate)
    number = started(page, "Lay the tables")
    page.goto("/admin/")
    mark(page)
    runs = part(page, "Running")
    bar = runs.get_by_role("progressbar", name=f"Progress of build #{number}")
    expect(bar).to_have_attribute("value", "1")
    expect(runs.get_by_text("Laying the first")).to_be_visible()
    running.open_gate("tables-half")
    expect(bar).to_have_attribute("value", "3")
    line = runs.get_by_role("listitem").filter(has_text=f"#{number}")
    expect(line).to_contain_text(re.compile("about .+ left"))
    running.open_gate("tables")
    expect(bar).to_have_count(0)
    expect(main_of(page).get_by_role("link", name="Reload")).to_be_hidden()
    assert_not_loaded_again(page)


def test_a_failure_appears_with_its_first_line_and_leads_to_its_build(
    page: Page, running: Running, contexts
):
    page.goto("/admin/")
    mark(page)
    number = started(contexts().new_page(), "Drop the plates")
    line = part(page, "Last failures").get_by_role("listitem").filter(has_text=f"#{number}")
    expect(line).to_contain_text("RuntimeError: the plates are broken")
    expect(line).not_to_contain_text("into pieces")
    assert_not_loaded_again(page)
    line.get_by_role("link", name=f"#{number}").click()
    expect(page.get_by_role("heading", name=f"Build #{number}")).to_be_visible()


def test_what_waits_appears_with_its_reason_and_goes(page: Page, running: Running, contexts):
    running.close_gate("spoons")
    page.goto("/admin/")
    mark(page)
    other = contexts().new_page()
    first = started(other, "Polish the spoons")
    second = started(other, "Polish the spoons")
    line = part(page, "Waiting").get_by_role("listitem").filter(has_text=f"#{second}")
    expect(line).to_contain_text("1 build of spoons runs already (concurrency: 1)")
    running.open_gate("spoons")
    expect(line).to_have_count(0)
    expect(part(page, "Running").get_by_text(f"#{first}", exact=True)).to_have_count(0)
    assert_not_loaded_again(page)


def test_without_scripts_the_overview_has_a_link_to_reload_it(contexts, running: Running):
    page = contexts(java_script_enabled=False).new_page()
    page.goto("/admin/")
    expect(part(page, "Who works").get_by_role("listitem")).to_have_count(1)
    main_of(page).get_by_role("link", name="Reload").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_the_tiles_lead_to_their_parts_and_the_menu_to_all_pages(page: Page):
    page.goto("/admin/")
    main_of(page).get_by_role("link", name="outdated").first.click()
    expect(page).to_have_url(re.compile("#dash-outdated$"))
    main_of(page).get_by_role("link", name="Scheduled runs", exact=True).click()
    expect(page.get_by_role("heading", name="Scheduled runs")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_console_stays_empty_from_the_login_to_the_overview(
    contexts: Callable[..., BrowserContext], running: Running, scheme, width
):
    for gate in ("tables-half", "tables"):
        running.close_gate(gate)
    started(contexts().new_page(), "Lay the tables")  # what runs is refreshed each time
    page = contexts("", color_scheme=scheme, viewport={"width": width, "height": 860}).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    log_in(page, "admin")
    # As scripts of browsers' extensions do.
    page.evaluate("document.querySelectorAll('[id]').forEach((one) => { one.style.order = '0'; })")
    time = part(page, "Running").locator(".jc-ticks").first
    time.evaluate("(one) => { one.dataset.mark = 'old'; }")
    expect(part(page, "Running").locator("[data-mark=old]")).to_have_count(0)
    page.wait_for_timeout(500)
    for gate in ("tables-half", "tables"):
        running.open_gate(gate)
    assert said == []
