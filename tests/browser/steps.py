"""What a person does on the pages, again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect

PATIENCE = 90  # seconds; only ends a test that would hang


def open_job(page: Page, title: str) -> None:
    """Go to a job's page by the list."""
    page.goto(f"/admin/jobs/job/?{urlencode({'q': title})}")
    page.get_by_role("row").get_by_role("link", name=title).first.click()
    expect(page).to_have_url(re.compile(r"/jobs/job/.+/change/"))


def main_of(page: Page) -> Locator:
    """Return the part of a page that is its own."""
    return page.locator("#content")


def choose_action(page: Page, name: str) -> None:
    """Do with the chosen rows of a list what its menu offers."""
    page.get_by_label("Action:").select_option(label=name)
    page.get_by_role("button", name="Go", exact=True).click()


def quick_build(page: Page) -> None:
    """Press the button on a job's page, which leads to the new build."""
    page.get_by_role("button", name="Build now").click()
    expect(page).to_have_url(re.compile(r"/builds/build/\d+/change/"))


def reload_until(page: Page, is_so: Callable[[], bool]) -> None:
    """Reload the page, once in a second, until `is_so`: for what it does not show by itself."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, main_of(page).inner_text()
        page.wait_for_timeout(1_000)
        page.reload()


def wait_for_end(page: Page, status: str) -> None:
    """Look at a build's page until it is finished; that must be with `status`."""
    ended = ("SUCCESSFUL", "SKIPPED", "FAILED", "CANCELLED")
    reload_until(page, lambda: status_of(page) in ended)
    assert status_of(page) == status, main_of(page).inner_text()


def status_of(page: Page) -> str:
    """Return the status that a build's page shows."""
    return page.locator("#content .jc-badge").first.inner_text().upper()


def built(page: Page, title: str, status: str = "SUCCESSFUL") -> int:
    """Quick-build a job and wait for the end; the page shows the build, whose number it returns."""
    open_job(page, title)
    quick_build(page)
    wait_for_end(page, status)
    return build_number(page)


def build_number(page: Page) -> int:
    """Return the number of the build whose page is shown."""
    found = re.search(r"/builds/build/(\d+)/change/", page.url)
    assert found, page.url
    return int(found[1])
