"""The strip of a job's page and the grid: by keyboard, by mouse, and while builds come."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import main_of, open_job, quick_build
from tests.browser.test_live import assert_not_loaded_again, mark

PAST = """
import json
from datetime import timedelta
from django.utils import timezone
from builds.models import Build

def past(job, status, seconds):
    start = timezone.now() - timedelta(hours=1)
    return Build.objects.create(
        job_id=job, status=status, start_time=start, end_time=start + timedelta(seconds=seconds),
        exception_type="RungError" if status == "FAILED" else "",
    ).pk

made = [past("ladders", status, 9) for status in ("SUCCESSFUL", "FAILED", "SUCCESSFUL")]
made += [past("stairs", "SKIPPED", 2), past("stairs", "FAILED", 3)]
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def past(running: Running) -> list[int]:
    """Three builds of one job and two of another, the oldest first."""
    made: list[int] = json.loads(running.site.python(PAST))
    return made


def link(page: Page, number: int) -> Locator:
    return page.locator(f'[data-roving-row] a[href$="/build/{number}/change/"]')


def detail(page: Page, number: int) -> Locator:
    return link(page, number).locator(".jc-detail")


def is_shown(page: Page, number: int) -> bool:
    """Whether the detail is to be seen, and not only to be heard."""
    return detail(page, number).evaluate("one => one.getBoundingClientRect().width") > 50


def stops(page: Page) -> int:
    """How many of the builds the Tab key comes to."""
    return page.locator("[data-roving-row] a:not([tabindex='-1'])").count()


def test_the_strip_by_keyboard_and_mouse_while_a_build_runs(
    page: Page, running: Running, contexts, past
):
    running.close_gate("ladders")
    open_job(page, "Climb the ladders")
    mark(page)
    oldest, failed, newest = past[:3]
    expect(link(page, failed)).to_be_visible()
    assert stops(page) == 1
    link(page, newest).focus()
    page.keyboard.press("ArrowLeft")
    expect(link(page, failed)).to_be_focused()
    expect(detail(page, failed)).to_contain_text("failed, took 9.0 s")
    expect(detail(page, failed)).to_contain_text("RungError")
    assert is_shown(page, failed)
    page.keyboard.press("Home")
    expect(link(page, oldest)).to_be_focused()
    assert not is_shown(page, failed)
    page.keyboard.press("End")
    expect(link(page, newest)).to_be_focused()
    link(page, oldest).hover()
    assert is_shown(page, oldest)
    page.mouse.move(0, 0)

    other = contexts().new_page()
    open_job(other, "Climb the ladders")
    quick_build(other)
    strip = page.locator("#strip")
    expect(strip.get_by_role("link", name=re.compile("running"))).to_be_visible()
    expect(link(page, newest)).to_be_focused()
    assert stops(page) == 1
    page.keyboard.press("ArrowRight")
    running.open_gate("ladders")
    expect(strip.get_by_role("link", name=re.compile("successful"))).to_have_count(3)
    # It is another text now, and still the place of the keyboard.
    focused = page.evaluate("document.activeElement.textContent")
    assert "successful" in focused
    assert_not_loaded_again(page)
    page.keyboard.press("Enter")
    expect(page).to_have_url(other.url)


def test_the_grid_by_keyboard_while_a_build_comes(page: Page, running: Running, contexts, past):
    running.open_gate("ladders")
    page.goto("/admin/jobs/job/grid/?tag=climbing")
    mark(page)
    oldest, skipped, failed = past[0], past[3], past[4]
    assert stops(page) == 1
    rows = main_of(page).get_by_role("row")
    expect(rows).to_have_count(4)  # the head is one
    expect(rows.last).to_contain_text("never built")
    link(page, failed).focus()
    assert is_shown(page, failed)
    page.keyboard.press("ArrowLeft")
    expect(link(page, skipped)).to_be_focused()
    page.keyboard.press("Escape")
    assert not detail(page, skipped).is_visible()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    expect(link(page, oldest)).to_be_focused()
    assert is_shown(page, oldest)
    page.keyboard.press("Escape")
    link(page, failed).hover()
    assert is_shown(page, failed)

    other = contexts().new_page()
    open_job(other, "Climb the rope")
    quick_build(other)
    cell = rows.last.get_by_role("link", name=re.compile("successful, took"))
    expect(cell).to_be_visible()
    expect(rows.last).to_contain_text("1 of 1")
    expect(link(page, oldest)).to_be_focused()
    assert_not_loaded_again(page)
    cell.click()
    expect(page).to_have_url(other.url)


def test_without_scripts_each_bar_is_a_link_with_its_detail(contexts, past):
    page = contexts(java_script_enabled=False).new_page()
    open_job(page, "Climb the ladders")
    link(page, past[1]).focus()
    expect(detail(page, past[1])).to_contain_text("RungError")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Build #{past[1]}")).to_be_visible()
