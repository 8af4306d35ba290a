"""Deleting builds: cleanup on a worker, a failing one, and without."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import built, main_of, open_job, quick_build, reload_until, wait_for_end

# Submits a form twice; returns whether the page prevented it, for each time.
TWICE = """button => {
    const prevented = [];
    document.addEventListener("submit", (event) => prevented.push(event.defaultPrevented));
    button.form.requestSubmit(button);
    button.form.requestSubmit(button);
    return prevented;
}"""


def wait_until_said(page: Page, text: str) -> None:
    """Look at the page until it says `text`."""
    reload_until(page, lambda: text in page.locator("#container").inner_text())


def ask_for_deletion(page: Page, button: str) -> None:
    page.get_by_role("link", name="Delete…").click()
    expect(main_of(page).get_by_text("flows:refuse_cleanup").first).to_be_visible()
    page.get_by_role("button", name=button).click()


def test_a_build_whose_cleanup_fails_stays_and_goes_without_cleanup(page: Page, running: Running):
    running.close_gate("cleanup")
    number = built(page, "Archive")
    address = page.url
    ask_for_deletion(page, "Clean up and delete")
    page.goto(address)
    wait_until_said(page, "The deletion failed; the build was kept")
    expect(page.get_by_text(f"Cleaning up after build {number}")).to_be_visible()
    page.get_by_text("Traceback", exact=True).first.click()
    expect(page.get_by_text("RuntimeError: the archive is locked").first).to_be_visible()
    page.get_by_role("button", name="Delete without cleanup").click()
    page.goto(address)
    wait_until_said(page, f"#{number} (gone)")
    page.goto("/admin/builds/deletion/")
    rows = page.get_by_role("row").filter(has_text=f"#{number}")
    expect(rows).to_have_count(2)


def test_a_deletion_that_failed_is_tried_again(page: Page, running: Running):
    running.close_gate("cleanup")
    number = built(page, "Archive")
    address = page.url
    ask_for_deletion(page, "Clean up and delete")
    page.goto(address)
    wait_until_said(page, "The deletion failed; the build was kept")
    running.open_gate("cleanup")
    with page.expect_navigation():
        again = page.get_by_role("button", name="Try again")
        assert again.evaluate(TWICE) == [False, True], "a second click is not sent"
    page.goto(address)
    wait_until_said(page, f"#{number} (gone)")


def test_what_an_unfinished_build_needs_is_not_deleted(page: Page, running: Running):
    running.close_gate("holder")
    used = built(page, "Held by another build")
    open_job(page, "Hold a build")
    quick_build(page)
    holder = page.url
    wait_until_said(page, "This build is running")
    page.goto(f"/admin/builds/build/{used}/change/")
    page.get_by_role("link", name="Delete…").click()
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()
    expect(main_of(page).get_by_text("unfinished builds need it").first).to_be_visible()
    running.open_gate("holder")
    page.goto(holder)
    wait_for_end(page, "SUCCESSFUL")
    # Now it may go; the one that used it still says so.
    page.goto(f"/admin/builds/build/{used}/delete/")
    page.get_by_role("button", name="Delete").click()
    page.goto(holder)
    wait_until_said(page, f"#{used} (deleted)")
