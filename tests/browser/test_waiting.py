"""What a build waits for, as its pages say it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.steps import (
    build_number,
    main_of,
    open_job,
    quick_build,
    reload_until,
    wait_for_end,
)
from tests.browser.test_cancelling import wait_until_running
from tests.browser.test_every_page import NARROW, WIDE, too_wide

# Where pictures go, to look at: nowhere unless it is set.
PICTURES = os.environ.get("JOBCONTROL_PICTURES")


def looks_well(page: Page, problems: Callable[[Page], list[str]], name: str) -> None:
    """The page is accessible and fits, in light and dark, wide and narrow."""
    for scheme in ("light", "dark"):
        for size in (WIDE, NARROW):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            page.reload()
            assert problems(page) == []
            assert too_wide(page) == []
            if PICTURES:
                path = Path(PICTURES) / f"{name}-{scheme}-{size['width']}.png"
                page.screenshot(path=path, full_page=True)


def test_a_build_of_a_full_job_says_so_and_begins_when_the_other_ends(page: Page, running, severe):
    running.close_gate("single")
    open_job(page, "One at a time")
    quick_build(page)
    first = build_number(page)
    wait_until_running(page)
    open_job(page, "One at a time")
    quick_build(page)
    second = build_number(page)
    said = "1 build of single runs already (concurrency: 1)"
    expect(main_of(page).get_by_text(f"This build waits: {said}.")).to_be_visible()
    page.goto("/admin/builds/build/?job__id__exact=single")
    expect(page.get_by_role("row", name=f"#{second}")).to_contain_text(said)
    number = page.get_by_role("link", name=f"#{second}", exact=True)
    page.set_viewport_size({"width": 1024, "height": 768})
    lines = "link => { link.textContent = '#1234567'; return link.getClientRects().length }"
    assert number.evaluate(lines) == 1, "the words leave its number in one line"
    looks_well(page, severe, "list-of-waiting")
    page.goto(f"/admin/builds/build/{second}/change/")
    looks_well(page, severe, "waiting-limit")
    running.open_gate("single")
    wait_for_end(page, "SUCCESSFUL")
    page.goto(f"/admin/builds/build/{first}/change/")
    wait_for_end(page, "SUCCESSFUL")


@pytest.fixture
def night(page: Page):
    """A build in a queue that nobody serves; cancelled at the end, as every page tells of it."""
    open_job(page, "Only at night")
    quick_build(page)
    address = page.url
    yield build_number(page)
    page.goto(address)
    page.get_by_role("button", name="Cancel this build").click()
    wait_for_end(page, "CANCELLED")


def test_a_queue_that_nobody_serves_is_said_on_the_page(
    page: Page, night: int, severe, contexts: Callable[..., BrowserContext]
):
    said = "no live cluster serves the queue 'night': start one with 'jobcontrol-cli worker"
    expect(main_of(page)).to_contain_text(said)
    # The banner is looked up every few seconds.
    reload_until(page, page.get_by_text("No worker takes builds of the queue “night”").is_visible)
    expect(page.get_by_text("--queue night").first).to_be_visible()
    looks_well(page, severe, "waiting-queue")
    open_job(page, "Only at night")
    expect(main_of(page)).to_contain_text("No live cluster serves the queue 'night'")
    looks_well(page, severe, "job-queue")
