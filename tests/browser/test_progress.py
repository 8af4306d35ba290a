"""The tree of progress in the browser: folded and unfolded, large, silent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from builds.pages.progress import UNFOLDED
from tests.browser.conftest import Running
from tests.browser.steps import build_number, open_job, quick_build

BARS = 5_000 + 50 + 1


@pytest.fixture(scope="module")
def large(running: Running) -> Iterator[int]:
    """The number of a build that runs and has reported 5,000 bars."""
    running.close_gate("tree")
    number = int(
        running.site.python(
            """
            import time
            from builds import services
            from builds.models import BuildProgress
            from jobs.models import Job
            made = services.request_build(job=Job.objects.get(id="tree"), trigger="cli")
            while BuildProgress.objects.filter(build=made).count() < 5_000:
                time.sleep(0.1)
            print(made.pk)
            """
        )
    )
    yield number
    running.open_gate("tree")
    running.site.wait_for(number)


def address(number: int, query: str = "") -> str:
    return f"/admin/builds/build/{number}/change/{query}"


def bars(page: Page) -> int:
    return page.locator("#progress progress").count()


def branch(page: Page, name: str):
    return page.locator("#progress details").filter(
        has=page.locator("> summary .jc-bar-name", has_text=re.compile(f"^{name}$"))
    )


def test_a_large_tree_shows_its_groups_and_what_moves(page: Page, large: int):
    page.goto(address(large))
    assert bars(page) == 1 + 50 + 100
    expect(page.get_by_text("File 2005", exact=True)).to_be_visible()
    expect(page.get_by_text("File 2100", exact=True)).to_have_count(0)


def test_a_folded_branch_comes_when_it_is_opened_by_keyboard(page: Page, large: int):
    page.goto(address(large))
    summary = branch(page, "Supplier 30").last.locator("> summary")
    summary.focus()
    page.keyboard.press("Enter")
    last = page.get_by_text("File 3099", exact=True)
    expect(last).to_be_visible()
    assert bars(page) == 1 + 50 + 200
    # Neither the focus nor the page moved.
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(last).to_be_hidden()
    # What came once is there at once.
    page.keyboard.press("Space")
    expect(last).to_be_visible()


def test_all_is_unfolded_and_folded_by_keyboard(page: Page, large: int):
    page.goto(address(large))
    page.get_by_role("button", name="Unfold all").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("As many as a page bears")).to_be_visible()
    assert 150 < bars(page) <= UNFOLDED
    expect(page.get_by_text("File 0", exact=True)).to_be_visible()
    page.get_by_role("button", name="Fold all", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("File 0", exact=True)).to_be_hidden()
    expect(page.get_by_text("Supplier 49", exact=True)).to_be_visible()


def test_all_bars_can_be_shown_in_parts_and_used(page: Page, large: int):
    page.goto(address(large))
    page.get_by_role("link", name=f"Show all {BARS} bars").click()
    parts = page.get_by_role("navigation", name="Pages of bars")
    expect(page.locator("#progress progress")).to_have_count(UNFOLDED)
    parts.get_by_role("link", name=str(math.ceil(BARS / UNFOLDED))).click()
    last = page.get_by_text("File 4999", exact=True)
    expect(last).to_be_visible()
    expect(branch(page, "Supplier 49").last).to_be_visible()
    page.get_by_role("button", name="Fold all", exact=True).click()
    expect(last).to_be_hidden()
    page.get_by_role("button", name="Unfold all").click()
    expect(last).to_be_visible()
    expect(page.get_by_text("File 4000", exact=True)).to_have_count(0)


def test_without_scripts_links_open_branches(contexts, large: int):
    page = contexts(java_script_enabled=False).new_page()
    page.goto(address(large))
    expect(page.get_by_role("button", name="Unfold all")).to_be_hidden()
    folded = branch(page, "Supplier 30").last
    folded.locator("> summary").click()
    folded.get_by_role("link", name="Show 100 below").click()
    expect(page.get_by_text("File 3099", exact=True)).to_be_visible()
    page.get_by_role("link", name=f"Show all {BARS} bars").click()
    expect(page.locator("#progress progress")).to_have_count(UNFOLDED)


def test_a_branch_that_does_not_come_says_so_and_can_be_tried_again(page: Page, large: int, watch):
    page.goto(address(large))
    page.route("**/progress/**", lambda route: route.abort())
    watch.expected.append("ERR_FAILED")
    folded = branch(page, "Supplier 31").last
    folded.locator("> summary").click()
    expect(folded.get_by_text("Not loaded:")).to_be_visible()
    page.unroute("**/progress/**")
    folded.get_by_role("link", name="Show 100 below").click()
    expect(page.get_by_text("File 3199", exact=True)).to_be_visible()


def test_after_a_logout_a_branch_says_so(contexts, running: Running, large: int):
    context = contexts()
    page = context.new_page()
    page.goto(address(large))
    context.clear_cookies()
    folded = branch(page, "Supplier 32").last
    folded.locator("> summary").click()
    expect(folded.get_by_text("Not loaded: you are logged out.")).to_be_visible()


def move(running: Running, number: int, name: str, done: int) -> None:
    """Report for the job: a real one would have to be waited for."""
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    running.site.sql(
        f"UPDATE builds_buildprogress SET current = {done}, updated = {now}"
        f" WHERE build_id = {number} AND group_name LIKE '%\"{name}\"%'"
    )


def nothing_new(route) -> None:
    """Answer as the server does when nothing has changed."""
    route.fulfill(status=204, headers={"X-Live-Stamp": "the same", "X-Live-Every": "2"})


def test_a_bar_that_stands_still_says_for_how_long_and_counts_on(page: Page, running: Running):
    running.close_gate("shelves")
    open_job(page, "Count the shelves")
    quick_build(page)
    number = build_number(page)
    expect(page.get_by_text("Counting jars")).to_be_visible()
    expect(page.get_by_text(re.compile("^no update for"))).to_have_count(2)
    expect(page.get_by_text(re.compile("^no update for")).first).to_be_hidden()
    old = "datetime('now', '-100 seconds')"
    running.site.sql(f"UPDATE builds_buildprogress SET updated = {old} WHERE build_id = {number}")
    page.reload()
    still = page.locator("#progress").get_by_text(re.compile(r"^no update for 1 min \d+ s$"))
    expect(still).to_have_count(2)
    expect(still.first).to_be_visible()
    # The script counts on while the server says that there is nothing new, and begins to say so.
    page.route("**live=**", nothing_new)
    page.wait_for_timeout(2_500)  # a refresh may have been under way
    said = still.first.inner_text()
    expect(still.first).not_to_have_text(said)
    page.evaluate(
        """() => {
            for (const one of document.querySelectorAll("[data-silence]")) {
                one.dataset.stillAfter = "100000";
            }
        }"""
    )
    expect(still.first).to_be_hidden()
    page.evaluate("document.querySelector('[data-silence]').dataset.stillAfter = '30'")
    expect(still.first).to_be_visible()
    page.unroute("**live=**")
    running.open_gate("shelves")
    expect(page.get_by_text(re.compile("^no update for"))).to_have_count(0)


def test_silence_is_not_counted_while_the_server_is_away(
    page: Page, running: Running, large: int, watch
):
    """A page that gets no answer can't know that the job is silent."""
    move(running, large, "File 2005", 5)
    page.goto(address(large))
    page.route("**live=**", lambda route: route.abort())
    watch.expected += ["ERR_FAILED", "htmx"]
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    page.evaluate("document.querySelector('[data-silence]').dataset.silence = '100'")
    page.wait_for_timeout(2_500)
    still = page.get_by_text(re.compile("^no update for"))
    expect(still.first).to_be_hidden()
    page.unroute("**live=**")
    page.route("**live=**", nothing_new)
    expect(still.first).to_be_visible()


def test_a_refresh_brings_what_is_open_and_no_more(page: Page, running: Running, large: int):
    page.goto(address(large))
    folded = branch(page, "Supplier 33").last
    folded.locator("> summary").click()
    expect(page.get_by_text("File 3399", exact=True)).to_be_visible()
    other = branch(page, "Supplier 34").last.locator("> summary")
    other.focus()
    with page.expect_response(
        lambda answer: "live=" in answer.url and answer.status == 200
    ) as told:
        move(running, large, "File 3307", 7)
        move(running, large, "File 3401", 3)
    expect(page.locator("li", has_text="File 3307").last).to_contain_text("7/10 (70%)")
    expect(folded).to_contain_text("7/1000 (0%)")
    expect(folded).to_have_attribute("open", "")
    expect(other).to_contain_text("3/1000 (0%)")
    expect(other).to_be_focused()
    # What moves is sent as well: it may be folded, but would be open if the page were loaded.
    assert told.value.text().count("<progress") <= 1 + 50 + 300
    # Folded again, it is in no refresh any more.
    folded.locator("> summary").click()
    with page.expect_response(
        lambda answer: "live=" in answer.url and "open=" not in answer.url and answer.status == 200
    ) as told:
        move(running, large, "File 3307", 0)
    assert "File 3307" not in told.value.text()
    expect(folded).to_contain_text("0/1000 (0%)")
    expect(page.get_by_text("File 3307", exact=True)).to_have_count(0)
    move(running, large, "File 3401", 0)


def test_unfolded_branches_stay_so_through_a_refresh(page: Page, running: Running, large: int):
    page.goto(address(large))
    page.get_by_role("button", name="Unfold all").click()
    expect(page.get_by_text("File 0", exact=True)).to_be_visible()
    shown = bars(page)
    with page.expect_response(lambda answer: "live=" in answer.url and answer.status == 200):
        move(running, large, "File 5", 9)
    expect(page.locator("li", has_text="File 5").filter(has_text="9/10 (90%)").last).to_be_visible()
    assert bars(page) == shown
    move(running, large, "File 5", 10)


def test_a_part_of_all_bars_stays_true_and_the_same_part(page: Page, running: Running, large: int):
    part = str((1 + 34 + 3305) // UNFOLDED + 1)
    page.goto(address(large, f"?progress=all&page={part}"))
    moving = page.locator("li", has_text="File 3305").last
    expect(moving).to_contain_text("0/10 (0%)")
    count = bars(page)
    move(running, large, "File 3305", 1)
    expect(moving).to_contain_text("1/10 (10%)")
    assert bars(page) == count
    expect(page.get_by_role("navigation", name="Pages of bars").locator("strong")).to_have_text(
        part
    )
    move(running, large, "File 3305", 0)
