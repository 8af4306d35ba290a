"""What ends the refresh of an open page, and what it then says."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import builds
from tests.browser.conftest import PASSWORD, USERS, Running, log_in
from tests.browser.steps import main_of
from tests.browser.test_live import assert_not_loaded_again, mark
from tests.support.site import Site
from tests.support.web import TIMEOUT, Watch, web

ELSEWHERE = "/admin/password_change/"
JOBS = """
jobs:
  - {id: one, title: "Only one", function: "jobcontrol.utils.testing:job_simple_echo"}
"""


def word(page: Page):
    return page.locator(".jc-live-word")


@pytest.mark.parametrize("start", ["/admin/", "/admin/jobs/job/", "/admin/jobs/job/grid/"])
def test_another_page_in_place_of_a_refresh_is_no_logout(page: Page, start):
    page.goto(start)
    page.evaluate("root => document.querySelector('[data-live]').dataset.live = root", ELSEWHERE)
    expect(word(page)).to_contain_text("The server has another page here now.")
    expect(word(page)).not_to_contain_text("logged out")
    word(page).get_by_role("link", name="Load the page again").click()
    expect(word(page)).to_be_empty()
    expect(page).to_have_url(page.url.split("#")[0])


def test_a_refresh_that_is_refused_is_told_with_its_number(page: Page, watch: Watch):
    watch.expected += ["400"]
    page.goto("/admin/")
    page.route("**/admin/?live=*", lambda route: route.fulfill(status=400, body="no"))
    expect(word(page)).to_contain_text("The server refused the refresh (400).")


@pytest.mark.parametrize(
    "gone",
    [
        "/admin/jobs/job/grid/?nonsense=1",
        "/admin/builds/build/999999/change/",
        "/admin/builds/plan/999999/change/",
        "/admin/builds/deletion/999999/change/",
        "/admin/builds/build/?nonsense=1",
    ],
)
def test_what_is_not_there_any_more_is_gone_and_no_logout(page: Page, watch: Watch, gone):
    watch.expected += ["404"]
    page.goto("/admin/")
    page.evaluate("gone => document.querySelector('[data-live]').dataset.live = gone", gone)
    expect(word(page)).to_contain_text("This is gone.")
    expect(word(page).get_by_role("link", name="Load the page again")).to_be_visible()


def test_the_log_tells_another_page_from_a_logout(page: Page, running: Running):
    running.close_gate("chatter")
    page.goto("/admin/jobs/job/chatter/change/")
    page.get_by_role("button", name="Build now").click()
    box = page.locator("[data-log-news]")
    expect(box).to_be_attached()
    box.evaluate("(box, address) => { box.dataset.logNews = address }", ELSEWHERE)
    expect(box).to_contain_text("The server has another page here now.")
    running.open_gate("chatter")


def test_scripts_know_no_address_by_themselves():
    folder = Path(builds.__file__).parent / "static" / "builds"
    scripts = list(folder.glob("*.js"))
    assert scripts
    assert [one.name for one in scripts if "/admin/" in one.read_text(encoding="utf-8")] == []


def test_an_empty_graph_fills_and_empties_while_it_is_open(browser: Browser, site: Site, watch):
    site.write_config("jobs: []\n")
    site.manage("sync_jobs", check=True)
    site.python(USERS.format(password=PASSWORD))
    with web(site) as url:
        context = browser.new_context(base_url=url)
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        watch.follow(page)
        log_in(page, "viewer")
        page.goto("/admin/jobs/job/graph/")
        none = main_of(page).get_by_text("There are no jobs yet")
        picture = page.get_by_role("region", name="Picture of the graph")
        expect(none).to_be_visible()
        expect(picture).to_be_hidden()
        expect(page.get_by_text("The same as a list")).to_be_hidden()
        mark(page)
        # Twice: the same picture again is another one than none.
        for _ in range(2):
            site.write_config(JOBS)
            site.manage("sync_jobs", check=True)
            link = picture.get_by_role("link", name="Only one").first
            expect(link).to_be_visible()
            box, frame = link.bounding_box(), picture.bounding_box()
            assert box["width"] > 40
            assert frame["x"] <= box["x"] < frame["x"] + frame["width"]
            expect(none).to_be_hidden()
            expect(page.locator("#graph-list").get_by_role("link", name="Only one")).to_be_visible()
            site.write_config("jobs: []\n")
            site.manage("sync_jobs", check=True)
            expect(none).to_be_visible()
            expect(picture).to_be_hidden()
        assert_not_loaded_again(page)
        context.close()


LONG = "one => { one.textContent = 'words and words '.repeat(200) }"
LINES = """one => {
    const style = getComputedStyle(one);
    const pads = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    return (one.clientHeight - pads) / parseFloat(style.lineHeight);
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("address", "of_a_row"),
    [
        ("/admin/", ".jc-row-error"),
        ("/admin/builds/build/", ".jc-reason"),
        ("/admin/jobs/job/", ".jc-reason"),
    ],
)
def test_an_error_takes_three_lines_of_a_list_however_long_it_is(
    page: Page, history, address, of_a_row, width
):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    error = main_of(page).locator(of_a_row).first
    error.evaluate(LONG)
    assert round(error.evaluate(LINES), 1) == 3.0
    assert error.evaluate("one => one.scrollHeight > one.clientHeight"), "the rest is cut off"
