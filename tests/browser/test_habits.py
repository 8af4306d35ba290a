"""Habits: keys and their card, the search of the site, the browser's tab, being told, copying."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import build_number, main_of, open_job, quick_build

NOTIFICATIONS = """
    window.told = [];
    const tell = (told) => {
        window.told.push(told);
        document.documentElement.dataset.told = window.told.length;
    };
    window.Notification = class {
        static permission = "default";
        static async requestPermission() {
            window.Notification.permission = window.answer || "granted";
            return window.Notification.permission;
        }
        constructor(title, options) { tell([title, options.body]); }
        addEventListener() {}
    };
"""
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def icon(page: Page) -> str:
    return page.locator("link[rel=icon]").get_attribute("href").rpartition("/")[2]


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other, on a page whose scripts are there."""
    page.wait_for_load_state()
    for key in keys:
        page.keyboard.press(key)


# --- Keys -----------------------------------------------------------------------------------------


def test_keys_lead_about_and_their_card_tells_them(page: Page, history):
    page.goto("/admin/")
    press(page, "g", "b")
    expect(page).to_have_url(re.compile(r"/builds/build/$"))
    press(page, "j", "j", "k")
    first = page.locator("#result_list tbody tr").first.get_by_role("link").first
    expect(first).to_be_focused()
    press(page, "Enter")
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))
    number = build_number(page)

    card = page.get_by_role("dialog", name="Keyboard shortcuts")
    page.get_by_role("link", name="All builds of this job").focus()
    press(page, "?")
    expect(card).to_be_visible()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    for name in ("Log", "Run again", "Copy the build's number", "Overview", "Workers"):
        expect(card.locator("li").filter(has_text=name).first).to_be_visible()
    expect(card.get_by_text("Next, previous row")).to_be_hidden()
    press(page, "l")  # not while the card is open
    expect(card).to_be_visible()
    press(page, "Escape")
    expect(card).to_be_hidden()
    expect(page.get_by_role("link", name="All builds of this job")).to_be_focused()

    press(page, "Control+l", "l")
    expect(page).to_have_url(re.compile(rf"/builds/build/{number}/log/"))
    open_job(page, "Twice the number")
    press(page, "b")
    expect(page).to_have_url(re.compile(r"/build-form/"))
    page.get_by_label("Named arguments").press_sequentially("gj?/")
    assert "gj?/" in page.get_by_label("Named arguments").input_value()
    expect(card).to_be_hidden()


def test_keys_can_be_switched_off_and_stay_so(page: Page):
    page.goto("/admin/")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    card = page.get_by_role("dialog", name="Keyboard shortcuts")
    card.get_by_role("checkbox").uncheck()
    card.get_by_role("button", name="Close").click()
    for again in (False, True):
        if again:
            page.reload()
        press(page, "?", "g", "b", "/")
        expect(card).to_be_hidden()
        expect(page).to_have_url(re.compile(r"/admin/$"))
        expect(page.locator("#jc-find")).not_to_be_focused()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    card.get_by_role("checkbox").check()
    press(page, "Escape", "/")
    expect(page.locator("#jc-find")).to_be_focused()


# --- Searching ------------------------------------------------------------------------------------


def test_a_build_is_found_from_any_page_by_its_error(page: Page, history):
    page.goto("/admin/jobs/job/graph/")
    press(page, "/")
    page.keyboard.type("ValueError basket")
    press(page, "Enter")
    main = main_of(page)
    line = main.get_by_role("listitem").filter(has_text=f"Build #{history['broken']}")
    expect(line.locator("mark").first).to_have_text("ValueError")
    press(page, "j", "Enter")
    expect(page).to_have_url(re.compile(r"/change/$"))
    find = page.get_by_role("searchbox", name="Find a build, a job or an error")
    find.fill("Count the shelves")
    page.get_by_role("button", name="Find", exact=True).click()
    main.get_by_role("link", name="Count the shelves").click()
    expect(page).to_have_url(re.compile(r"/jobs/job/shelves/change/"))


def test_a_number_leads_to_its_build_without_scripts_on_a_phone(contexts, history):
    phone = {"width": 390, "height": 844}
    page = contexts(java_script_enabled=False, viewport=phone).new_page()
    page.goto("/admin/")
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()
    find = page.get_by_role("searchbox", name="Find a build, a job or an error")
    number = history["shelves"]
    find.fill(f"#{number}")
    page.get_by_role("button", name="Find", exact=True).click()
    if "/search/" in page.url:  # there is a plan of that number, too
        main_of(page).get_by_role("link", name=f"Build #{number}", exact=True).click()
    expect(page).to_have_url(re.compile(rf"/builds/build/{number}/change/"))


# --- The tab --------------------------------------------------------------------------------------


def test_the_tab_follows_a_build_and_somebody_who_waits_is_told(contexts, running: Running):
    for gate in ("tables-half", "tables"):
        running.close_gate(gate)
    page = contexts().new_page()
    page.add_init_script(NOTIFICATIONS)
    open_job(page, "Lay the tables")
    quick_build(page)
    number = build_number(page)
    expect(page).to_have_title(f"▶ 25% Lay the tables #{number} | JobControl")
    assert icon(page) == "running.svg"
    button = page.get_by_role("button", name="Tell me when it ends")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    running.open_gate("tables-half")
    expect(page).to_have_title(f"▶ 75% Lay the tables #{number} | JobControl")
    # As in a tab that nobody sees: it goes on to look, and soon enough.
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { get: () => true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    running.open_gate("tables")
    expect(page).to_have_title(f"✓ Lay the tables #{number} | JobControl", timeout=20_000)
    assert icon(page) == "success.svg"
    told = [f"Build #{number} of Lay the tables: successful", ""]
    expect(page.locator("html")).to_have_attribute("data-told", "1")
    assert page.evaluate("window.told") == [told]
    expect(button).to_be_hidden()
    # What had ended before is nothing to wait for.
    page.reload()
    expect(page).to_have_title(f"✓ Lay the tables #{number} | JobControl")
    expect(button).to_be_hidden()
    assert page.evaluate("window.told") == []


def test_who_refused_notifications_is_told_how_to_allow_them(contexts, running: Running):
    running.close_gate("aisles")
    page = contexts().new_page()
    page.add_init_script(NOTIFICATIONS + "window.answer = 'denied';")
    open_job(page, "Count the aisles")
    quick_build(page)
    button = page.get_by_role("button", name="Tell me when it ends")
    button.click()
    said = page.locator("[data-notify] [role=status]")
    expect(said).to_contain_text("Your browser was told not to let this site notify you.")
    expect(button).to_have_attribute("aria-pressed", "false")
    running.open_gate("aisles")
    expect(page.locator("#title .jc-badge")).to_have_text("successful", ignore_case=True)
    assert page.evaluate("window.told") == []


def test_the_overview_counts_in_its_title(page: Page, history):
    page.goto("/admin/")
    expect(page).to_have_title(re.compile(r"✗ \d+ Overview \| JobControl$"))


# --- Copying --------------------------------------------------------------------------------------


def test_buttons_copy_and_say_so(contexts, history):
    page = contexts(permissions=CLIPBOARD).new_page()

    def copied(button: str) -> str:
        page.wait_for_load_state()
        page.evaluate("navigator.clipboard.writeText('')")
        page.evaluate("document.getElementById('jc-said').textContent = ''")
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator("#jc-said")).to_have_text("Copied.")
        return page.evaluate("navigator.clipboard.readText()")

    page.goto(f"/admin/builds/build/{history['broken']}/change/")
    assert copied("Copy the build's number") == str(history["broken"])
    assert copied("Copy the error") == "ValueError: no pear in the basket"
    assert copied("Copy as text").rstrip().endswith("ValueError: no pear in the basket")
    assert "price: 42" in copied("Copy the configuration")
    assert copied("Copy the command line") == "jobcontrol-cli build-job --queue broken"
    assert "/api/job/broken/run" in copied("Copy the request")
    press(page, "l")
    expect(page).to_have_url(re.compile(r"/log/"))
    page.locator(".jc-log-link").first.click()
    expect(page).to_have_url(re.compile(r"#line-"))
    assert copied("Copy link") == page.url
    assert "#line-" in page.url
    page.goto(f"/admin/builds/build/{history['shelves']}/change/")
    assert "'jars': 4" in copied("Copy the return value")


def test_without_the_clipboard_s_interface_what_is_marked_is_copied(contexts, history):
    page = contexts(permissions=CLIPBOARD).new_page()
    page.goto(f"/admin/builds/build/{history['shelves']}/change/")
    page.evaluate(
        """() => {
            window.own = navigator.clipboard;
            Object.defineProperty(navigator, "clipboard", { value: undefined });
        }"""
    )
    page.get_by_role("button", name="Copy the build's number").click()
    expect(page.locator("#jc-said")).to_have_text("Copied.")
    assert page.evaluate("window.own.readText()") == str(history["shelves"])


# --- What was done, with links --------------------------------------------------------------------


def test_what_was_started_is_a_link(page: Page):
    open_job(page, "Override me")
    quick_build(page)
    number = build_number(page)
    told = page.locator(".messagelist")
    expect(told).to_contain_text(f"Queued: build #{number} of greeting.")
    told.get_by_role("link", name="greeting").click()
    expect(page).to_have_url(re.compile(r"/jobs/job/greeting/change/"))
    quick_build(page)
    number = build_number(page)
    open_number = page.locator(".messagelist").get_by_role("link", name=f"#{number}", exact=True)
    expect(open_number).to_have_attribute("href", f"/admin/builds/build/{number}/change/")
