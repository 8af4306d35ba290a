"""Stopping builds from the pages, one and several."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.steps import (
    PATIENCE,
    build_number,
    choose_action,
    main_of,
    open_job,
    quick_build,
    wait_for_end,
)


def wait_until_running(page: Page) -> None:
    expect(page.get_by_text("This build is running.")).to_be_visible(timeout=1000 * PATIENCE)


def test_a_running_build_is_cancelled_and_says_who_did_it(page: Page):
    open_job(page, "Never comes to an end")
    quick_build(page)
    wait_until_running(page)
    page.get_by_role("button", name="Cancel this build").click()
    wait_for_end(page, "CANCELLED")
    main = main_of(page)
    expect(main.get_by_text(re.compile(r"Build cancelled by admin\."))).to_be_visible()
    expect(main.get_by_role("region", name="Traceback")).to_contain_text("wait_at")
    expect(page.get_by_role("button", name="Cancel this build")).to_have_count(0)


def test_several_builds_are_cancelled_from_the_list(page: Page):
    numbers = []
    for _ in range(3):  # more than there are workers
        open_job(page, "Never comes to an end")
        quick_build(page)
        numbers.append(build_number(page))
    page.goto("/admin/builds/build/?stage=unfinished&job__id__exact=endless")
    for number in numbers:
        page.get_by_role("row", name=f"#{number}").get_by_role("checkbox").check()
    choose_action(page, "Cancel selected builds")
    expect(page.get_by_text("Cancelled, or told to stop: 3 builds.")).to_be_visible()
    for number in numbers:
        page.goto(f"/admin/builds/build/{number}/change/")
        wait_for_end(page, "CANCELLED")
