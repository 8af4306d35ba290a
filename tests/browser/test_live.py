"""Pages that refresh themselves while they are open."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from tests.browser.conftest import PASSWORD, Running, log_in
from tests.browser.steps import build_number, main_of, open_job, quick_build, wait_for_end
from tests.support.web import TIMEOUT, Watch, web

AWAY = "The server does not answer"
MARK = "document.body.dataset.mark = 'the same page'"


def mark(page: Page) -> None:
    """Leave something in the page that a load would take away."""
    page.evaluate(MARK)


def assert_not_loaded_again(page: Page) -> None:
    assert page.evaluate("document.body.dataset.mark") == "the same page"


def begun(page: Page, running: Running) -> None:
    """Start a build that waits at its gate, and see it run."""
    running.close_gate("aisles")
    open_job(page, "Count the aisles")
    quick_build(page)
    mark(page)
    expect(main_of(page).get_by_text("Counting jars")).to_be_visible()


def builds_of_aisles(context: BrowserContext) -> Page:
    """Open the list of builds, whose first one runs."""
    page = context.new_page()
    page.goto("/admin/builds/build/?job__id__exact=aisles")
    expect(first_row(page)).to_contain_text("RUNNING")
    mark(page)
    return page


def first_row(page: Page) -> Locator:
    return page.locator("#result_list tbody tr").first


def test_a_build_is_watched_from_the_queue_to_its_end(page: Page, running: Running):
    begun(page, running)
    main = main_of(page)
    expect(main.locator(".jc-badge").first).to_have_text("running", ignore_case=True)
    expect(main.get_by_text("A jar is missing")).to_be_visible()
    expect(main.get_by_role("link", name="Reload")).to_be_hidden()
    first = main.locator(".jc-ticks").inner_text()
    expect(main.locator(".jc-ticks")).not_to_have_text(first)
    running.open_gate("aisles")
    expect(main.locator(".jc-badge").first).to_have_text("successful", ignore_case=True)
    expect(main).to_contain_text("{'jars': 4, 'boxes': 6}")
    expect(main.get_by_text("10/10 (100%)")).to_be_visible()
    expect(main.get_by_role("button", name="Cancel this build")).to_have_count(0)
    # In the reader's zone, as everything on the page.
    moment = main.locator("#facts time").first
    shown, whole = moment.inner_text(), moment.get_attribute("datetime")
    assert page.evaluate("([a]) => new Date(a).getMinutes()", [whole]) == int(shown[14:16])
    assert_not_loaded_again(page)


def test_the_end_is_the_end_of_the_asking(page: Page, running: Running):
    begun(page, running)
    running.open_gate("aisles")
    expect(main_of(page)).to_contain_text("{'jars': 4, 'boxes': 6}")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(5_000)
    assert not [url for url in asked if "live=" in url]


def test_the_place_of_the_keyboard_stays(page: Page, running: Running):
    begun(page, running)
    page.locator("#actions").get_by_role("link", name="All builds of this job").focus()
    running.open_gate("aisles")
    expect(page.locator("#title .jc-badge")).to_have_text("successful", ignore_case=True)
    expect(page.get_by_role("button", name="Cancel this build")).to_have_count(0)
    assert page.evaluate("document.activeElement.textContent").strip() == "All builds of this job"
    assert_not_loaded_again(page)


def test_text_that_is_marked_is_left_alone_until_it_is_not(page: Page, running: Running):
    begun(page, running)
    page.locator("#facts dt").first.select_text()
    marked = page.evaluate("getSelection().toString()")
    running.open_gate("aisles")
    expect(page.locator("#title .jc-badge")).to_have_text("successful", ignore_case=True)
    assert page.evaluate("getSelection().toString()") == marked
    expect(page.locator("#facts .jc-ticks")).to_have_count(1)
    page.evaluate("getSelection().removeAllRanges()")
    expect(page.locator("#facts .jc-ticks")).to_have_count(0)


def test_plan_and_job_pages_follow(page: Page, running: Running, history):
    open_job(page, "Count the aisles")
    mark(page)
    running.close_gate("aisles")
    other = page.context.new_page()
    open_job(other, "Count the aisles")
    quick_build(other)
    number = build_number(other)
    link = page.get_by_role("link", name=f"#{number}", exact=True)
    row = page.locator("#builds tr").filter(has=link)
    expect(row).to_be_visible()
    expect(page.locator("#standing")).to_contain_text("RUNNING")
    running.open_gate("aisles")
    expect(row).to_contain_text("SUCCESSFUL")
    assert_not_loaded_again(page)


def test_a_hidden_page_asks_seldom_and_at_once_when_it_is_seen(page: Page, running: Running):
    begun(page, running)
    listed = builds_of_aisles(page.context)
    asked = []
    for one in (page, listed):
        one.on("request", lambda request: asked.append(request.url) if is_refresh(request) else 0)
        one.evaluate(
            """() => {
                Object.defineProperty(document, "hidden", { get: () => window.isHidden });
                window.isHidden = true;
                document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
    page.wait_for_timeout(1_000)  # one may have been under way
    asked.clear()
    page.wait_for_timeout(6_000)
    assert asked == []
    for one in (page, listed):
        with one.expect_request(is_refresh):
            one.evaluate(
                """() => {
                    window.isHidden = false;
                    document.dispatchEvent(new Event("visibilitychange"));
                }"""
            )
    running.open_gate("aisles")
    expect(page.locator("#title .jc-badge")).to_have_text("successful", ignore_case=True)
    expect(first_row(listed)).to_contain_text("SUCCESSFUL")


def is_refresh(request: Request) -> bool:
    return "live=" in request.url


def test_a_server_that_is_restarted_is_waited_for(
    page: Page, running: Running, browser: Browser, watch: Watch
):
    watch.expected += [
        "htmx-2.min.js",
        "ERR_CONNECTION_REFUSED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
    ]
    with web(running.site) as url:
        context = browser.new_context(base_url=url)
        context.set_default_timeout(TIMEOUT)
        own = context.new_page()
        watch.follow(own)
        log_in(own, "admin")
        begun(own, running)
        listed = builds_of_aisles(context)
        watch.follow(listed)
    pages = (own, listed)
    words = [one.locator(".jc-live-word").get_by_text(AWAY) for one in pages]
    for one, word in zip(pages, words, strict=True):
        expect(word).to_be_visible()
        expect(main_of(one).get_by_role("link", name="Reload")).to_be_visible()
    with web(running.site, port=urlsplit(url).port or 0):
        for word in words:
            expect(word).to_have_count(0, timeout=60_000)
        running.open_gate("aisles")
        expect(own.locator("#title .jc-badge")).to_have_text("successful", ignore_case=True)
        expect(first_row(listed)).to_contain_text("SUCCESSFUL")
        for one in pages:
            assert_not_loaded_again(one)
    context.close()


def test_a_login_that_is_over_is_said_and_leads_back(
    browser: Browser, running: Running, watch: Watch
):
    context = browser.new_context(base_url=running.url)
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    watch.follow(page)
    log_in(page, "operator")
    begun(page, running)
    address = page.url
    listed = builds_of_aisles(context)
    watch.follow(listed)
    context.clear_cookies()
    for one in (page, listed):
        expect(one.locator(".jc-live-word")).to_contain_text("You are logged out.")
    expect(first_row(listed)).to_contain_text("RUNNING")
    expect(page.get_by_text("Counting jars")).to_be_visible()
    page.locator(".jc-live-word").get_by_role("link", name="Log in again").click()
    log_in_here(page, "operator")
    expect(page).to_have_url(address)
    running.open_gate("aisles")
    wait_for_end(page, "SUCCESSFUL")
    context.close()


def log_in_here(page: Page, user: str) -> None:
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("script", [True, False])
def test_without_a_script_there_is_a_link(contexts, running: Running, script):
    page = contexts(java_script_enabled=script).new_page()
    running.close_gate("aisles")
    open_job(page, "Count the aisles")
    quick_build(page)
    link = main_of(page).get_by_role("link", name="Reload")
    if script:
        expect(link).to_be_hidden()
    else:
        expect(link).to_be_visible()
        link.click()
        expect(page.locator("#title")).to_be_visible()
    running.open_gate("aisles")
