"""Lists that stay true while they are open, and what the reader does there meanwhile."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Running
from tests.browser.steps import build_number, open_job, quick_build
from tests.browser.test_live import assert_not_loaded_again, mark

OF_LAMPS = "/admin/builds/build/?job__id__exact=lamps"
EVERY_ROW = "#result_list tbody tr"


@pytest.fixture
def ask(page: Page, running: Running):
    """Ask for a build of the job that waits at its gate, from another page; return its number."""
    running.close_gate("lamps")
    other = page.context.new_page()

    def ask() -> int:
        open_job(other, "Light the lamps")
        quick_build(other)
        return build_number(other)

    yield ask
    running.open_gate("lamps")


def row_of(page: Page, number: int) -> Locator:
    link = page.get_by_role("link", name=f"#{number}", exact=True)
    return page.locator(EVERY_ROW).filter(has=link)


def look_away(page: Page) -> None:
    """Take the pointer off the list."""
    page.mouse.move(2, 2)


def first_number(page: Page) -> str:
    return page.locator(EVERY_ROW).first.locator(".field-number").inner_text()


def test_rows_change_where_they_stand_and_what_the_reader_does_stays(page: Page, running, ask):
    running_one, queued_one = ask(), ask()
    page.goto(OF_LAMPS)
    mark(page)
    expect(row_of(page, running_one)).to_contain_text("RUNNING")
    expect(row_of(page, queued_one)).to_contain_text("QUEUED")
    page.get_by_label("Search").fill("half a wo")
    page.get_by_label("Action:").select_option(label="Cancel selected builds")
    box = row_of(page, queued_one).get_by_role("checkbox")
    box.check()
    rows = page.locator(EVERY_ROW).count()
    running.open_gate("lamps")
    for number in (running_one, queued_one):
        expect(row_of(page, number)).to_contain_text("SUCCESSFUL")
    expect(box).to_be_checked()
    expect(page.get_by_label("Search")).to_have_value("half a wo")
    expect(page.locator("select[name=action] option:checked")).to_have_text(
        "Cancel selected builds"
    )
    expect(page.locator(".action-counter")).to_have_text(f"1 of {rows} selected")

    # Chosen rows stay in their places until the reader says so.
    newest = ask()
    button = page.get_by_role("button", name="1 new build: show")
    expect(button).to_be_visible()
    look_away(page)
    expect(row_of(page, newest)).to_have_count(0)
    button.click()
    expect(page.locator(EVERY_ROW).first).to_contain_text(f"#{newest}")
    expect(box).to_be_checked()
    expect(page.locator(".action-counter")).to_have_text(f"1 of {rows + 1} selected")
    page.locator("#action-toggle").check()
    expect(page.locator(".action-counter")).to_have_text(f"{rows + 1} of {rows + 1} selected")
    expect(row_of(page, newest).get_by_role("checkbox")).to_be_checked()
    assert_not_loaded_again(page)


def test_rows_come_and_go_unless_the_pointer_is_over_them(page: Page, running, ask):
    page.goto(f"{OF_LAMPS}&stage=unfinished")
    mark(page)
    look_away(page)
    expect(page.get_by_text("No build matches.")).to_be_visible()
    first = ask()
    expect(row_of(page, first)).to_be_visible()
    second = ask()
    expect(row_of(page, second)).to_be_visible()
    assert first_number(page) == f"#{second}"

    row_of(page, first).locator(".field-times").hover()
    running.open_gate("lamps")
    expect(page.get_by_role("button", name="The list has changed: show")).to_be_visible()
    expect(row_of(page, first)).to_have_class(re.compile("jc-row-left"))
    expect(row_of(page, second)).to_have_count(1)
    look_away(page)
    expect(page.get_by_text("No build matches.")).to_be_visible()

    # Django's script for actions knows the rows of a list that was empty before.
    running.close_gate("lamps")
    third = ask()
    row_of(page, third).get_by_role("checkbox").check()
    expect(page.locator(".action-counter")).to_have_text("1 of 1 selected")
    assert_not_loaded_again(page)


def test_the_lists_of_jobs_and_workers_follow(page: Page, running, ask):
    page.goto("/admin/jobs/job/?q=lamps")
    mark(page)
    row = page.locator(EVERY_ROW).filter(has_text="Light the lamps")
    workers = page.context.new_page()
    workers.goto("/admin/builds/cluster/")
    mark(workers)
    number = ask()
    expect(row).to_contain_text(f"#{number}")
    expect(row).to_contain_text("RUNNING")
    expect(workers.get_by_role("link", name=f"#{number}")).to_be_visible()
    button = row.get_by_role("button", name="Build")
    button.focus()
    running.open_gate("lamps")
    expect(row.locator(".field-builds")).not_to_contain_text("RUNNING")
    expect(workers.get_by_role("link", name=f"#{number}")).to_have_count(0)
    expect(button).to_be_focused()
    for one in (page, workers):
        assert_not_loaded_again(one)
